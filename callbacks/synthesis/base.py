"""What every synthesis callback shares: which samples, when, on which rank, in which mode, where the pictures go."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from attacks import Box, Constraint, projected_gradient, undisturbed
from attacks.adversary import outside_inference
from attacks.constraints import Number, number
from attacks.objectives import Objective, logits_of
from attacks.seeds import mix
from callbacks.interruption import interruptible
from callbacks.synthesis.gallery import Exhibition, epochs_of, settings
from callbacks.synthesis.pictures import on_one_size
from reports.files import ReportError
from reports.gallery import write_page

N = TypeVar("N", int, float)


@dataclass
class Plan:
    """A synthesis: a start image, an objective to lower, a constraint.

    `variant` tells several plans for one batch apart; `hole` is true `(B, 1, H, W)` where the picture is made up.
    """

    start: Tensor
    objective: Objective
    constraint: Constraint
    variant: str = ""
    hole: Tensor | None = None


@dataclass
class Painting:
    """What came out: images `(B, 3, H, W)` in `[0, 1]`, the logits of the result, and scores `(B,)` by name."""

    variant: str
    original: Tensor
    start: Tensor
    result: Tensor
    logits: Tensor
    scores: dict[str, Tensor] = field(default_factory=dict)


class Synthesis(Callback, ABC):
    """Paints with the network's gradients, on a fixed handful of validation samples after every evaluation.

    The pictures go to the run's gallery on disk and to every logger that takes images, under one stable key. The
    process of rank 0 paints; nothing in here waits for another.

    Args:
        constraint: how far the picture may move from its start.
        steps: number of gradient steps.
        step_size: length of a step in pixel units.
        samples: how many validation samples, spread evenly over the set, or their indices.
        every_n_epochs: paint after the evaluation of every n-th epoch; the last one is always painted.

    Raises:
        ValueError: if a number is not above 0, or the list of samples is empty, has a negative one or one twice.
    """

    task: ClassVar[str]
    """The folder in the gallery and the key in the loggers."""

    def __init__(
        self,
        constraint: Constraint,
        steps: int,
        step_size: Number,
        samples: int | list[int] = 8,
        every_n_epochs: int = 1,
    ) -> None:
        self.constraint = constraint
        self.steps = _above_0(steps, "steps")
        self.step_size = _above_0(number(step_size, "step_size"), "step_size")
        self.samples = _distinct(samples) if isinstance(samples, list) else _above_0(samples, "samples")
        self.every_n_epochs = _above_0(every_n_epochs, "every_n_epochs")
        self.results: dict[str, float] = {}
        """Mean scores of the last time."""

    @abstractmethod
    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Iterator[Plan]:
        """Say what to paint; one plan, or several variants.

        Args:
            network: in eval mode, from images to logits.
            batch: `image` `(B, 3, H, W)` in `[0, 1]` and `label`.
            seed: int64 `(B,)`, for what is random.
        """

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        """Numbers about a painting, `(B,)` each; none by default."""
        return {}

    def synthesize(self, network: nn.Module, batch: dict[str, Any]) -> list[Painting]:
        """Paint a batch; needs no Trainer. The network is left as it was found.

        Args:
            network: from images in `[0, 1]` to logits.
            batch: `image` float32 `(B, 3, H, W)` in `[0, 1]`, `label` int64; `index` int64 `(B,)` seeds what is random.
        """
        with undisturbed(network):
            batch = {key: outside_inference(value) if torch.is_tensor(value) else value for key, value in batch.items()}
            seed = mix(batch["index"] if "index" in batch else torch.arange(len(batch["image"])))
            paintings = []
            for plan in self.plans(network, batch, seed):
                result = projected_gradient(
                    plan.objective,
                    plan.constraint & Box(),
                    plan.start,
                    steps=self.steps,
                    step_size=self.step_size,
                    descend=True,
                )
                with torch.no_grad():
                    logits = logits_of(network(result))
                painting = Painting(plan.variant, batch["image"], plan.start, result, logits)
                painting.scores = self.scores(painting, plan)
                paintings.append(painting)
            return paintings

    def is_due(self, trainer: Trainer) -> bool:
        """Whether it paints at the end of this evaluation."""
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0 or last or trainer.state.fn != TrainerFn.FITTING
        return due and not trainer.sanity_checking

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.is_due(trainer):
            self._paint(trainer, pl_module, trainer.val_dataloaders)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._paint(trainer, pl_module, trainer.test_dataloaders)

    def _paint(self, trainer: Trainer, pl_module: LightningModule, loader: Any) -> None:
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir) / "gallery"
        classes = list(getattr(trainer.datamodule, "classes", []))  # type: ignore[attr-defined]
        exhibition = Exhibition(folder / self.task, settings(self), classes, _epochs(trainer))
        scores: dict[str, list[float]] = {}
        for batch in map(trainer.precision_plugin.convert_input, self._batches(loader, pl_module.device)):
            network = pl_module.get_submodule("network")
            with interruptible(network):
                paintings = self.synthesize(network, batch)
            for painting in paintings:
                for name, values in painting.scores.items():
                    scores.setdefault(name, []).extend(values.tolist())
                pictures = (painting.original, painting.start, painting.result, batch["label"], painting.logits)
                for index, *sample in zip(batch["index"].tolist(), *pictures, strict=True):
                    exhibition.add(f"{index:06d}{painting.variant and '_' + painting.variant}", *sample)
        exhibition.finish()
        self.results = {name: sum(values) / len(values) for name, values in scores.items()}
        try:
            write_page([Path(trainer.default_root_dir)], folder / "index.html")
        except ReportError as error:  # an old results file: no reason to stop
            rank_zero_warn(f"The gallery's page is not written. {error}")
        for logger in trainer.loggers:
            if self.results:
                logger.log_metrics(
                    {f"synthesis/{self.task}_{k}": v for k, v in self.results.items()}, trainer.global_step
                )
            if hasattr(logger, "log_image"):
                images = on_one_size(exhibition.strips)
                logger.log_image(f"synthesis/{self.task}", images, trainer.global_step, caption=exhibition.captions)

    def _batches(self, loader: Any, device: torch.device) -> Iterator[dict[str, Any]]:
        """The chosen samples, in one batch where they have one size, else one by one."""
        data = loader.dataset
        chosen = self.samples if isinstance(self.samples, list) else _spread(self.samples, len(data))
        if max(chosen, default=-1) >= len(data):
            raise MisconfigurationException(f"{self.task}: sample {max(chosen)} of a set of {len(data)}; set `samples`")
        samples = [data[index] for index in chosen]
        one_size = len({sample["image"].shape for sample in samples}) == 1
        for group in [samples] if one_size else [[sample] for sample in samples]:
            yield {
                "image": torch.stack([sample["image"] for sample in group]).to(device),
                "label": torch.stack([torch.as_tensor(sample["label"]) for sample in group]).to(device),
                "index": torch.tensor([sample["index"] for sample in group], device=device),
            }


def _epochs(trainer: Trainer) -> int | None:
    """How many epochs the network has been trained for, the current one included; None where that is not known."""
    if trainer.state.fn == TrainerFn.FITTING:
        return trainer.current_epoch + 1
    return epochs_of(Path(trainer.ckpt_path)) if trainer.ckpt_path else None


def _above_0(value: N, name: str) -> N:
    if not value > 0:
        raise ValueError(f"{name}={value}: a number above 0")
    return value


def _distinct(samples: list[int]) -> list[int]:
    if not samples or min(samples) < 0 or len(set(samples)) < len(samples):
        raise ValueError(f"samples={samples}: indices of the data set, 0 or more, each once; or how many samples")
    return samples


def _spread(count: int, length: int) -> list[int]:
    """`count` indices spread evenly over `range(length)`."""
    count = min(count, length)
    return [i * length // count for i in range(count)]


def channel_mean(image: Tensor) -> Tensor:
    """Each image filled with its own mean per channel."""
    return image.mean((2, 3), keepdim=True).expand_as(image)
