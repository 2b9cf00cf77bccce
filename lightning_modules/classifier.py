"""The one LightningModule: per-sample and per-pixel classification are the same code."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from attacks.objectives import cross_entropy, logits_of
from lightning_modules.contract import (
    BatchError,
    deals_once,
    look_at_batch,
    look_at_logits,
    look_at_loss,
    look_at_outcome,
    look_at_totals,
    samples_of,
)
from lightning_modules.counts import DatasetMetrics, Outcome, by_class, count
from lightning_modules.losses import CrossEntropyLoss, Loss
from lightning_modules.optimizers import check_schedule, make
from lightning_modules.rates import KEY, Rates, length
from lightning_modules.weights import NetworkError

OptimizerCallable = Callable[[Iterable], Optimizer]
ScheduleCallable = Callable[[Optimizer, int], LRScheduler]

ENDED_EARLY = "its data set is shorter than its length says, or something raised StopIteration"

FULL_PRECISIONS = ("32-true", "64-true", "16-mixed", "bf16-mixed")


class Classifier(LightningModule):
    """Trains and evaluates any network from pixels to logits, for image labels `(B,)` or label maps `(B, H, W)`.

    Batches are dicts: `image` float32 `(B, 3, H, W)` in `[0, 1]`, `label` int64, `index` int64 `(B,)`. Training lowers
    the mean of the loss over samples. Evaluation measures the clean image and every version under `batch["attacked"]`
    in float32, and logs `val/<version>/accuracy`, `miou`, `loss` and `iou/<class>` (`test/...` likewise).

    Args:
        network: from `(B, 3, H, W)` to logits `(B, C)` or `(B, C, H, W)`; in train mode also `{"out", "aux"}`.
        loss: gives one value per sample, `(B,)`, from the network and the batch.
        optimizer: makes the optimizer from parameters or parameter groups; by default SGD as in torchvision's
            segmentation reference (lr 0.02, momentum 0.9, weight decay 0.0001).
        schedule: makes a learning rate scheduler from the optimizer and the run's number of optimizer steps; stepped
            after each. `Drops`, `Triangle`, and torch's `PolynomialLR` and `CosineAnnealingLR`, have this shape.
        lr_multipliers: factors of the learning rate by prefix of the network's parameter names, such as
            `{model.aux_classifier: 10}`; the first that fits counts.
        frozen: parts of the network that are left exactly as they are, such as `[model.backbone]`: their weights are
            not trained, and their batch norm keeps its statistics.

    Raises:
        NetworkError: if the network has no such part, or the schedule cannot be made from these two.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss | Callable[[nn.Module, dict[str, Any]], Tensor] | None = None,
        optimizer: OptimizerCallable | None = None,
        schedule: ScheduleCallable | None = None,
        lr_multipliers: dict[str, float] | None = None,
        frozen: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.frozen = tuple(frozen)
        self._freeze()
        self.loss = loss or CrossEntropyLoss()
        self.optimizer = optimizer or partial(SGD, lr=0.02, momentum=0.9, weight_decay=1e-4)
        if schedule is not None:
            check_schedule(schedule)
        self.schedule = schedule
        self.lr_multipliers = lr_multipliers or {}
        self._rates: Rates | None = None
        self._resumed: dict[str, Any] | None = None
        self.metrics: dict[str, DatasetMetrics] = {}
        self.results: dict[str, dict[str, Any]] = {}
        """What the last evaluation measured, by version of the image: `accuracy`, `loss`, `samples` and, for label
        maps, `miou`; `class_accuracy` and `iou` by class."""

    def _freeze(self) -> None:
        parts = dict(self.network.named_modules())
        for name in self.frozen:
            if name not in parts:
                known = ", ".join(key for key in parts if key and key.count(".") <= 1)
                raise NetworkError(f"frozen: the network has no part {name!r}; it has {known}")
            parts[name].requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        self._freeze()
        return self

    def setup(self, stage: str) -> None:
        self.check(self.trainer.precision)

    def check(self, precision: str) -> None:
        """Raises NetworkError if the precision is too coarse to measure robustness."""
        if precision not in FULL_PRECISIONS:
            raise NetworkError(
                f"precision {precision} rounds the pixels a robustness number is about; "
                f"use one of {', '.join(FULL_PRECISIONS)}"
            )

    def on_fit_start(self) -> None:
        self.learn(getattr(self.trainer, "datamodule", None))

    def learn(self, datamodule: Any) -> None:
        """Let the loss look at the data, if it needs to, before its first call."""
        if hasattr(self.loss, "learn"):
            self.loss.learn(datamodule)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image `(B, 3, H, W)`."""
        return logits_of(self.network(image))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> dict[str, Any]:
        """Check the batch's contract, before any callback sees it."""
        distinct = not self.trainer.training or deals_once(self.trainer.train_dataloader)
        labelled, classes = not self.trainer.predicting, len(self._class_names())
        return look_at_batch(batch, labelled, classes, distinct, self.network)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        values = self.loss(self.network, batch)
        loss = look_at_loss(values, len(batch["image"]))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["image"]))
        for name, part in getattr(self.loss, "parts", {}).items():
            self.log(f"train/{name}", part, batch_size=len(batch["image"]))
        return loss * (1 + 0 * loss.detach())  # of NaN and infinity no process gets a gradient that is a number

    def on_train_epoch_end(self) -> None:
        loop = self.trainer.fit_loop.epoch_loop
        if not loop.done:
            done, of = loop.batch_progress.current.completed, self.trainer.num_training_batches
            raise BatchError(f"the epoch ended after {done} of {of} batches: {ENDED_EARLY}")

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Outcome:
        return self._evaluate(batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> Outcome:
        return self._evaluate(batch)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The predicted classes: int64 `(B,)` or `(B, H, W)`."""
        logits = self(batch["image"])
        look_at_logits(logits, batch, len(self._class_names()), self.network)
        self._batches += 1
        return logits.argmax(1)

    def on_predict_start(self) -> None:
        self._batches = 0

    def on_predict_epoch_end(self) -> None:
        self._require_all_batches("prediction", self.trainer.num_predict_batches)

    def on_validation_start(self) -> None:
        self._begin()

    def on_test_start(self) -> None:
        self._begin()

    def on_validation_epoch_end(self) -> None:
        self._conclude("val")

    def on_test_epoch_end(self) -> None:
        self._conclude("test")

    def on_validation_end(self) -> None:
        _allow_tf32(*self._tf32)

    def on_test_end(self) -> None:
        _allow_tf32(*self._tf32)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        names = [name for name, _ in self.network.named_parameters()]
        for prefix in self.lr_multipliers:
            if not any(name.startswith(prefix) for name in names):  # no error: another network in the same config
                rank_zero_warn(f"lr_multipliers: the network has no parameters under {prefix!r}; one is {names[0]!r}")
        steps = None if self.schedule is None else length(self.trainer)
        optimizer, scheduler = self._make(steps)
        self._rates = Rates(optimizer, scheduler, None if scheduler is None else self.trainer)
        if self._resumed is not None:
            self._rates.go_on(self._resumed, self._make)
            self._resumed = None
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _make(self, steps: int | None) -> tuple[Optimizer, LRScheduler | None]:
        """The optimizer, and the schedule for so many steps."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                factors = [factor for prefix, factor in self.lr_multipliers.items() if name.startswith(prefix)]
                groups.setdefault(factors[0] if factors else 1.0, []).append(parameter)
        if not groups:
            raise NetworkError("frozen: nothing of the network is left to train")
        optimizer = make(Optimizer, self.optimizer, [{"params": parameters} for parameters in groups.values()])
        for group, factor in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] *= factor
        if self.schedule is None or steps is None:
            return optimizer, None
        return optimizer, make(LRScheduler, self.schedule, optimizer, steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._rates is not None:
            checkpoint[KEY] = self._rates.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.state.fn == TrainerFn.FITTING:  # its rates are looked at when ours are made
            self._resumed = checkpoint

    def _begin(self) -> None:
        self.metrics.clear()
        self.results = {}
        self._seen: set[int] = set()
        self._batches = 0
        self._tf32 = _allow_tf32(False, False)  # evaluation attacks run between here and the end, too

    def _evaluate(self, batch: dict[str, Any]) -> Outcome:
        """Measure every version of the image, unless that was done before: then it is in `batch["measured"]`."""
        outcome: Outcome = batch.get("measured") or self._measure(batch)
        dense = batch["label"].ndim > 1
        for version, counts in outcome["counts"].items():
            if version not in self.metrics:
                self.metrics[version] = DatasetMetrics(counts.tp.shape[1], dense).to(self.device)
            self.metrics[version].update(counts, outcome["loss"][version])
        index = outcome["index"].tolist()
        if twice := self._seen.intersection(index):
            raise BatchError(f"index: {min(twice)} comes twice; it is the sample's place in the data set")
        self._seen.update(index)
        self._batches += 1
        return outcome

    def _measure(self, batch: dict[str, Any]) -> Outcome:
        mine = self.owned(batch["index"])
        label = batch["label"][mine]
        outcome = Outcome(index=batch["index"][mine], counts={}, loss={})
        for version, image in {"clean": batch["image"], **batch.get("attacked", {})}.items():
            with torch.autocast(image.device.type, enabled=False):
                logits = self(image)
            look_at_logits(logits, batch, len(self._class_names()), self.network)
            logits = logits[mine]
            outcome["counts"][version] = count(logits, label)
            outcome["loss"][version] = cross_entropy(logits, label)
        look_at_outcome(outcome, self.network)
        return outcome

    def owned(self, index: Tensor) -> Tensor:
        """Which samples are this process's: a distributed sampler repeats some on other ranks to even out the load.

        It deals index i to rank i modulo the number of processes; whatever else arrives is a repetition.
        """
        return index % self.trainer.world_size == self.trainer.global_rank

    def _conclude(self, stage: str) -> None:
        batches, loader = self.trainer.num_val_batches, self.trainer.val_dataloaders
        if stage == "test":
            batches, loader = self.trainer.num_test_batches, self.trainer.test_dataloaders
        if self.trainer.sanity_checking:
            batches = self.trainer.num_sanity_val_batches
        self._require_all_batches("evaluation", batches)
        of = samples_of(loader, batches)
        for version, metrics in self.metrics.items():
            values = metrics.compute()
            look_at_totals(values, of, part=self.trainer.sanity_checking)
            self.report(stage, version, values)

    def _require_all_batches(self, what: str, batches: Sequence[float]) -> None:
        if self._batches < sum(batches) < math.inf:
            raise BatchError(f"the {what} ended after {self._batches} of {sum(batches)} batches: {ENDED_EARLY}")

    def report(self, stage: str, version: str, values: dict[str, Tensor]) -> None:
        """Keep metrics of a version of the images in `results`, and log them as `<stage>/<version>/...`."""
        self.results[version] = found = by_class(values, self._class_names())
        if not self.trainer.sanity_checking:
            single = {name: float(value) for name, value in found.items() if not isinstance(value, dict)}
            shown = single | {f"iou/{name}": value for name, value in found.get("iou", {}).items()}
            samples = int(shown.pop("samples"))
            logged = {f"{stage}/{version}/{name}": value for name, value in shown.items()}
            self.log_dict(logged, sync_dist=True, batch_size=samples)

    def _class_names(self) -> list[str]:
        return list(getattr(getattr(self.trainer, "datamodule", None), "classes", []))


def _allow_tf32(convolutions: bool, matmuls: bool) -> tuple[bool, bool]:
    """Set whether float32 may be computed in TF32 on a GPU; returns what was set before."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, matmuls
    return before
