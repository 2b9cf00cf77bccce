"""The attack as a callback: it turns each training batch adversarial, and adds attacked versions in evaluation.

A batch is a dict, and its items are replaced before the LightningModule sees them; the module never knows.
"""

import inspect
import math
import os
import re
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from attacks import Adversary, AttackCallable, Ensemble
from attacks.adversary import attacked, shown
from attacks.constraints import Number
from attacks.contract import ball_of
from attacks.cost import counted
from attacks.radius import scaled, with_eps
from attacks.seeds import mix
from attacks.twin import Kind, at_rest, exactly
from callbacks.interruption import interruptible
from callbacks.preparation import prepare

AnyAttack = Adversary | AttackCallable

TAKEN = ("clean", "train", "index", "name")
"""What attacks cannot be called: other versions of an image, and columns of a table, are."""


class Attack(Callback):
    """Attacks training batches with `train`, and evaluation batches with each attack of `evaluate`.

    In training `batch["image"]` becomes adversarial and the original is kept as `batch["clean"]`. In evaluation
    `batch["image"]` stays as it is; `batch["attacked"]` maps each attack's name to its image, `batch["cost"]` to its
    forwards, backwards and seconds, `batch["winners"]` an ensemble's to the attack that each sample's image is from.
    The network is in eval mode while it is attacked. Noise depends on the run's seed, the epoch and the sample's index
    alone, and is the same in every evaluation.

    Args:
        train: the training attack: a class of `attacks`, or any callable
            `attack(network, image, label, seed=None, region=None) -> image`; null for standard training.
        evaluate: evaluation attacks by name; the names become part of the metrics' names.
        fraction: share of the training samples that is attacked, drawn for each sample and epoch.
        warm_up: number of epochs over which the training attack's eps and step size grow linearly from 0 to what they
            are; logged as `attack/eps`.
        worst: groups of evaluation attacks by name, such as `{sea: [sea_mce, sea_mce_bal, sea_js]}`: `validate` and
            `test` measure the worst of a group, image by image, under its name.
        eps: radius of all evaluation attacks in place of their own, `0.06` or `8/255`; step sizes grow along. The
            training attack keeps its own.
        twin: what is attacked in the network's place, as its weights rest meanwhile: `exact`, the same values but for
            rounding, in less time; `bf16`, in bfloat16, on processors that have it, for the training attack only;
            `off`, the network itself. What is measured is always the network.

    Raises:
        ValueError: on a setting out of its range, a name that is no word, a group of attacks that are not there, a
            warm-up of an attack without `Linf` or `L2`, an eps for evaluation attacks without, or of several radii, or
            an attack that cannot be called like one.
    """

    def __init__(
        self,
        train: AnyAttack | None = None,
        evaluate: dict[str, AnyAttack] | None = None,
        fraction: float = 1.0,
        warm_up: float = 0.0,
        worst: dict[str, list[str]] | None = None,
        eps: Number | None = None,
        twin: Kind = "exact",
    ) -> None:
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction={fraction}: the share of attacked samples lies between 0 and 1")
        for name in (*(evaluate or {}), *(worst or {})):
            if not re.fullmatch(r"\w+", name) or name in TAKEN:
                raise ValueError(
                    f"evaluate: {name!r} cannot name an attack; use letters, digits and _, and none of "
                    f"{', '.join(TAKEN)}"
                )
        if not 0 <= warm_up < math.inf:
            raise ValueError(f"warm_up={warm_up}: a number of epochs, 0 or more")
        if warm_up and train is not None and ball_of(train) is None:
            raise ValueError(
                f"warm_up={warm_up}: {shown(train)} has no constraint Linf or L2 to grow; set warm_up to 0"
            )
        versions = {"clean", *(evaluate or {})}
        for name, group in (worst or {}).items():
            if name in versions or not group or not versions.issuperset(group):
                known = ", ".join(sorted(versions))
                raise ValueError(f"worst: {name}: {group} must name some of {known}, and {name} none of them")
        for place, attack in {
            "train": train,
            **{f"evaluate.{name}": each for name, each in (evaluate or {}).items()},
        }.items():
            _require_arguments(place, attack)
        self.train = train
        self.evaluate = with_eps(evaluate or {}, eps) if eps is not None else evaluate or {}
        self.fraction = fraction
        self.warm_up = warm_up
        self.worst = worst or {}
        self.twin = twin
        self.seconds = 0.0
        """Duration of the last training attack; on a GPU only that of a logged step is true."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.train is None:
            return
        started = time.perf_counter()
        seed = mix(run_seed(), trainer.current_epoch, batch["index"])
        attack = self.train
        if self.warm_up:
            attack = scaled(attack, self._grown(trainer, batch_idx))
            pl_module.log("attack/eps", attack.constraint.eps, batch_size=len(batch["image"]))
        with trainer.precision_plugin.forward_context():
            adversarial = self._attack_some(attack, pl_module, batch, seed)
        batch["clean"], batch["image"] = batch["image"], adversarial
        if is_logged(trainer, batch_idx):
            wait_for(pl_module.device)
        self.seconds = time.perf_counter() - started

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with interruptible(pl_module.get_submodule("network")):
            prepare(self.evaluate, trainer, pl_module)

    on_test_start = on_validation_start

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if "measured" in batch:  # by an evaluation that was interrupted
            return
        network = pl_module.get_submodule("network")
        batch["attacked"], batch["cost"], batch["winners"] = {}, {}, {}
        with at_rest(network, batch["image"], exactly(self.twin)) as twin, interruptible(twin):
            for name, attack in self.evaluate.items():
                wait_for(pl_module.device)
                started = time.perf_counter()
                with counted(twin) as cost:
                    batch["attacked"][name] = perturbed(attack, twin, batch, f"attack.evaluate.{name}")
                wait_for(pl_module.device)
                batch["cost"][name] = cost.forwards, cost.backwards, time.perf_counter() - started
                if isinstance(attack, Ensemble):
                    batch["winners"][name] = attack.winners

    on_test_batch_start = on_validation_batch_start

    def _grown(self, trainer: Trainer, batch_idx: int) -> float:
        """How much of its size the attack has reached: a function of the optimizer steps that an epoch has, in whatever
        runs, and however many the epochs before had."""
        batches = trainer.num_training_batches
        if math.isinf(batches):
            raise MisconfigurationException("attack.warm_up: the data have no length; set trainer.limit_train_batches")
        steps_per_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
        steps = trainer.current_epoch * steps_per_epoch + batch_idx // trainer.accumulate_grad_batches
        return min(1.0, steps / (self.warm_up * steps_per_epoch))

    def _attack_some(
        self, attack: AnyAttack, pl_module: LightningModule, batch: dict[str, Any], seed: Tensor
    ) -> Tensor:
        """Attack `fraction` of the samples; which ones depends on their seeds alone."""
        with at_rest(pl_module.get_submodule("network"), batch["image"], self.twin) as twin:
            if self.fraction == 1:
                return perturbed(attack, twin, batch, "attack.train", seed)
            chosen = mix(seed, 1).double() / 2.0**64 + 0.5 < self.fraction
            image = batch["image"].clone()
            if chosen.any():
                part: dict[str, Any] = {key: batch[key][chosen] for key in ("image", "label", "region") if key in batch}
                image[chosen] = perturbed(attack, twin, part, "attack.train", seed[chosen])
            return image


def attack_of(trainer: Trainer) -> Attack:
    """The trainer's `Attack`; one that attacks nothing, if it has none."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, Attack)), Attack())


def perturbed(
    attack: AnyAttack, network: nn.Module, batch: dict[str, Any], name: str, seed: Tensor | None = None
) -> Tensor:
    """A batch's image under an attack, ours or anybody's; by default with the noise of evaluation.

    Raises:
        MisconfigurationException: on an attack that is not for such a batch, or breaks its contract; it begins with
            `name`, the attack's place in the config.
    """
    seed = mix(run_seed(), batch["index"]) if seed is None else seed
    try:
        return attacked(attack, network, batch["image"], batch["label"], seed, batch.get("region"))
    except ValueError as error:
        raise MisconfigurationException(f"{name}: {error}") from error


def _require_arguments(place: str, attack: AnyAttack | None) -> None:
    try:
        if attack is not None:
            call = attack.forward if isinstance(attack, nn.Module) else attack  # its __call__ takes anything
            inspect.signature(call).bind(None, None, None, seed=None, region=None)
    except TypeError as error:
        raise ValueError(
            f"{place}: {shown(attack)} must be callable as attack(network, image, label, seed=None, region=None): "
            f"{error}"
        ) from None


def is_step(trainer: Trainer, batch_idx: int) -> bool:
    """Whether the optimizer steps after this training batch."""
    return trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def is_logged(trainer: Trainer, batch_idx: int) -> bool:
    """Whether the loggers are fed after this training batch: Lightning counts the optimizer steps of all epochs."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    step = trainer.fit_loop.epoch_loop._batches_that_stepped + 1
    return every > 0 and step % every == 0 and is_step(trainer, batch_idx)


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given, so that a clock tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def run_seed() -> int:
    """The run's seed, as `seed_everything` left it for every process."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))
