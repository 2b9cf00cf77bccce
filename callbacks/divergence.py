"""Stops a run that has gone wrong, and keeps the weights of before."""

import math
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from attacks.contract import ball_of
from attacks.ensemble import parts
from callbacks.attack import attack_of, is_logged, is_step
from callbacks.whole_files import keep_as

KEPT = "before_divergence.ckpt"

BLOCK = 50
"""Optimizer steps over which the loss is averaged: single batches may be odd."""

FACTOR = 10.0
"""How many times its usual value the loss is when it has exploded. Eps that grows, a rate that starts again or another
loss change it by a small multiple."""

BLOCKS = 4
"""In so many blocks in a row, 200 steps: the first steps at a high rate overshoot for some dozens."""

EVALUATIONS = 2
"""In so many evaluations in a row; one may follow a rate that has just risen."""

LOST = 0.9
"""Share of the good robust accuracy, above that of guessing, that is lost when it has collapsed."""

SAMPLES = 100
"""Of fewer images, accuracies and above all mIoU change by chance as much as by a collapse."""

SKIPPED = 20
"""Steps in a row that 16 bits do not hold: by then the loss is scaled by a millionth of what it was."""


class Divergence(Callback):
    """Ends a run that has gone wrong, for what no run does that goes well; all processes decide alike.

    - No number: a gradient is NaN or infinite, as where the loss is. The step is not taken. (With `16-mixed`, where
      gradients overflow now and then and such steps are left out anyway, only 20 in a row.)
    - Explosion: the loss, averaged over 50 steps, is 10 times its usual value four times in a row. Usual is the median
      of the last 20 averages, or the loss of guessing, ln(classes), if that is more: a loss near 0 may grow.
    - Collapse: under an attack of the training attack's set, mIoU (accuracy, of image-level labels) falls in two
      evaluations in a row to what guessing gives, or nearly. Two before were good: 0.1 above guessing, and twice as
      much or halfway to 1. Sets of fewer than 100 images tell too little.

    The run then ends without another evaluation, and no checkpoint is written any more: `last.ckpt` is as it was, and
    `checkpoints/before_divergence.ckpt` has the weights of the last evaluation with nothing amiss (another name for
    that checkpoint, no copy). To go on from there, give it as `--ckpt_path`, with a lower rate, say. `results.json`
    says why under `stopped`, and the command ends with exit status 2.

    `OverfittingGuard` asks for more: it measures after each epoch with an attack of its own, and a fall by 0.2 is too
    much. This one is always there, costs next to nothing, and ends what has no future.

    Logs `train/gradient_norm`, that of the whole gradient before it is clipped.
    """

    def __init__(self) -> None:
        self.stopped: str | None = None
        """Why the run was stopped."""
        self._loss: Tensor | float = 0.0  # of the block's batches
        self._batches = 0
        self._usual: list[float] = []
        self._above, self._skipped = 0, 0
        self._best: dict[str, list[float]] = {}
        self._below: dict[str, int] = {}
        self._saved: int | None = None
        self._kept: int | None = None
        self._evaluated: int | None = None
        self._well = False  # the last evaluation's checkpoint is to be kept

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """By now the checkpoint is written that belongs to the last evaluation."""
        if self._well and not self._above:
            self._well, self._kept = False, self._saved
            if trainer.is_global_zero:
                checkpoints = Path(trainer.default_root_dir, "checkpoints")
                with suppress(OSError):  # a full disk is found by those who write more
                    keep_as(checkpoints / "last.ckpt", checkpoints / KEPT)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Processes have shared their gradients: where the loss of one is no number, so is the norm of all."""
        finite = bool(_norm(self._vectors(pl_module)).isfinite())  # a wait for a GPU
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scaled = scaler is not None
        self._skipped = 0 if finite else self._skipped + 1
        if is_logged(trainer, trainer.fit_loop.epoch_loop.batch_idx):
            norm = _norm(pl_module.parameters())
            if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
                norm = norm / scaler.get_scale()  # a fused optimizer does that by itself, later
            pl_module.log("train/gradient_norm", norm, batch_size=1)
        if finite or (scaled and self._skipped < SKIPPED):
            return
        if not scaled:
            optimizer.zero_grad()  # of weights without a gradient the step leaves all as it is
        times = f" for {SKIPPED} steps" if scaled else ""
        self._stop(trainer, f"the loss or its gradient is no number{times} at step {trainer.global_step}")

    @staticmethod
    def _vectors(pl_module: LightningModule) -> list[nn.Parameter]:
        """Biases and the like, of all layers: what is no number in one gradient is in those of the layers before."""
        weights = [weight for weight in pl_module.parameters() if weight.grad is not None]
        return [weight for weight in weights if weight.ndim < 2] or weights

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.stopped:
            return
        self._loss = self._loss + outputs["loss"] * trainer.accumulate_grad_batches  # of which Lightning gives a part
        self._batches += 1
        if is_step(trainer, batch_idx) and trainer.global_step % BLOCK == 0:
            mean = trainer.strategy.reduce(torch.as_tensor(self._loss / self._batches), reduce_op="mean")
            self._loss, self._batches = 0.0, 0
            self._look_at_loss(trainer, float(mean))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self._evaluated = trainer.global_step
        chance = 1 / (_classes(trainer) or math.inf)
        good = max(chance + 0.1, min(2 * chance, (1 + chance) / 2))
        for name, value in _robust(trainer, pl_module).items():
            best = self._best.get(name, [])
            before = min(best) if len(best) > 1 else 0.0  # the second best: one may be luck
            lost = before >= good and value <= before - LOST * (before - chance)
            self._below[name] = self._below.get(name, 0) + 1 if lost else 0
            self._best[name] = sorted([*best, value])[-2:]
            if self._below[name] >= EVALUATIONS:
                self._stop(trainer, f"{name} collapsed from {before:.3f} to {value:.3f} by step {trainer.global_step}")
        self._well = not any(self._below.values())

    def _look_at_loss(self, trainer: Trainer, mean: float) -> None:
        usual = max(median(self._usual or [mean]), math.log(_classes(trainer) or 1))
        if mean <= FACTOR * usual:
            self._above = 0
            self._usual = [*self._usual, mean][-20:]
            return
        self._above += 1
        if self._above >= BLOCKS:
            step = trainer.global_step
            self._stop(trainer, f"the training loss exploded: {mean:.4g} by step {step}, and {usual:.4g} is usual")

    def _stop(self, trainer: Trainer, why: str) -> None:
        if self.stopped:
            return
        if self._evaluated not in (None, trainer.global_step):
            why += f"; what was measured is of step {self._evaluated}"
        if self._kept is not None:
            why += f"; checkpoints/{KEPT} has the weights of step {self._kept}"
        self.stopped = why
        self._loss, self._batches = 0.0, 0
        trainer.should_stop = True
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        trainer.callbacks = [each for each in callbacks if not isinstance(each, Checkpoint)]  # type: ignore[attr-defined]
        trainer.limit_val_batches = 0  # what has gone wrong is not evaluated again
        trainer.fit_loop.min_epochs = trainer.fit_loop.epoch_loop.min_steps = 0
        rank_zero_warn(f"The run is stopped: {self.stopped}")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._saved = checkpoint["global_step"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._saved = checkpoint["global_step"]

    def state_dict(self) -> dict[str, Any]:
        return {
            "loss": float(self._loss),
            "batches": self._batches,
            "usual": self._usual,
            "above": self._above,
            "best": self._best,
            "below": self._below,
            "skipped": self._skipped,
            "well": self._well,
            "kept": self._kept,
            "evaluated": self._evaluated,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loss, self._batches = state_dict["loss"], state_dict["batches"]
        self._usual, self._above = state_dict["usual"], state_dict["above"]
        self._best, self._below = state_dict["best"], state_dict["below"]
        self._skipped, self._well = state_dict.get("skipped", 0), state_dict.get("well", False)
        self._kept, self._evaluated = state_dict.get("kept"), state_dict.get("evaluated")


def _norm(weights: Iterable[nn.Parameter]) -> Tensor:
    """Of the gradient of weights, which is the same on all processes."""
    return get_total_norm([weight.grad for weight in weights if weight.grad is not None])


def _robust(trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
    """mIoU or accuracy under the evaluation attacks that training defends against, by the key of the dashboard."""
    attack = attack_of(trainer)
    trained = ball_of(attack.train)
    results: dict[str, dict[str, Any]] = getattr(pl_module, "results", {})
    found = {}
    for name, each in attack.evaluate.items() if trained is not None else ():
        balls = [ball_of(part) for part, _ in parts(each)]
        inside = all(type(ball) is type(trained) and ball.eps <= trained.eps * 1.001 for ball in balls if ball)
        if None not in balls and inside and results.get(name, {}).get("samples", 0) >= SAMPLES:
            key = "miou" if "miou" in results[name] else "accuracy"
            found[f"val/{name}/{key}"] = float(results[name][key])
    return found


def _classes(trainer: Trainer) -> int:
    """How many there are; 0 if that is not known."""
    return len(getattr(trainer.datamodule, "classes", []))  # type: ignore[attr-defined]
