"""Stops training that overfits catastrophically: the network learns its one attack, and falls to every stronger one."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from attacks import PGD, undisturbed
from attacks.contract import ball_of
from attacks.objectives import logits_of, valid_pixels
from callbacks.attack import AnyAttack, attack_of, perturbed


class OverfittingGuard(Callback):
    """Stops the run when training accuracy under a stronger attack falls (Wong et al. 2020, sec. 5.4).

    At the end of each epoch the network, in eval mode and in float32, is attacked on the epoch's first training batch
    before its training attack. Each epoch that passes is kept as `checkpoints/before_overfitting.ckpt`, in place of
    the one before; the run stops when the accuracy is more than `drop` below the best so far, and `results.json` says
    so under `stopped`. Logs `overfitting_guard/accuracy`. With label maps the accuracy is that of their valid pixels.

    Args:
        attack: the attack to measure with; by default PGD of 5 steps in the training attack's own `Linf` or `L2`;
            without either, as in standard training, there is nothing to guard.
        drop: the fall that is too much, as a share of all samples, between 0 and 1.

    Raises:
        ValueError: on a drop that is no share.
    """

    def __init__(self, attack: AnyAttack | None = None, drop: float = 0.2) -> None:
        if not 0 < drop < 1:
            raise ValueError(f"OverfittingGuard: drop={drop} is a share of all samples, between 0 and 1")
        self.attack = attack
        self.drop = drop
        self.best = 0.0
        """The best accuracy so far."""
        self.stopped: str | None = None
        """Why the run was stopped."""
        self._batch: dict[str, Any] | None = None
        self._is_first = True
        self._measure_with = attack

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        trained = attack_of(trainer).train
        if self.attack is not None or trained is None or stage != "fit":
            return
        ball = ball_of(trained)
        if ball is None:
            raise MisconfigurationException(
                "OverfittingGuard: attack.train has no constraint Linf or L2 to measure in; give the guard an attack"
            )
        self._measure_with = PGD(ball, steps=5)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.stopped = None  # where it had, the run has been given more
        if self._batch is None:
            self._batch = {**batch, "image": batch.get("clean", batch["image"])}
            self._is_first = batch_idx == 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._measure_with is None:
            return
        batch, self._batch = self._batch, None
        if batch is None or not self._is_first:  # the run went on inside the epoch, or after its last batch
            batch = _first_batch(trainer) or batch
        if batch is None:
            return
        accuracy = self._accuracy(self._measure_with, trainer, pl_module, batch)
        if accuracy is None:
            return
        pl_module.log("overfitting_guard/accuracy", accuracy, batch_size=1)
        if accuracy >= self.best - self.drop:
            self.best = max(self.best, accuracy)
            self._keep(trainer)
            return
        self.stopped = (
            f"catastrophic overfitting: accuracy under {self._measure_with!r} fell from {self.best:.3f} to "
            f"{accuracy:.3f} in epoch {trainer.current_epoch}; checkpoints/before_overfitting.ckpt has the weights "
            "before"
        )
        trainer.should_stop = True
        rank_zero_info(f"OverfittingGuard: {self.stopped}")

    @staticmethod
    def _accuracy(
        attack: AnyAttack, trainer: Trainer, pl_module: LightningModule, batch: dict[str, Any]
    ) -> float | None:
        """Over the first batches of all processes, so that all decide alike; nothing where all is void."""
        network, label = pl_module.get_submodule("network"), batch["label"]
        with undisturbed(network), torch.autocast(pl_module.device.type, enabled=False):
            image = perturbed(attack, network, batch, "OverfittingGuard: attack")
            with torch.no_grad():
                predicted = logits_of(network(image)).argmax(1)
        valid = valid_pixels(label)
        counts = torch.stack([((predicted == label) & valid).sum(), valid.sum()])
        right, all_of_them = trainer.strategy.reduce(counts, reduce_op="sum").tolist()
        return right / all_of_them if all_of_them else None

    @staticmethod
    def _keep(trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(Path(trainer.default_root_dir, "checkpoints", "before_overfitting.ckpt"))

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.stopped = state_dict["best"], state_dict.get("stopped")


def _first_batch(trainer: Trainer) -> dict[str, Any] | None:
    """The epoch's first batch, made again; None where there is no data module that can."""
    datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
    if not hasattr(datamodule, "first_batch"):
        return None
    batch = trainer.precision_plugin.convert_input(datamodule.first_batch(trainer.current_epoch))
    return trainer.strategy.batch_to_device(batch)
