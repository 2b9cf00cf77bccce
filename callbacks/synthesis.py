"""What every synthesis callback shares: which samples, when, on which rank, in which mode, where the pictures go."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from attacks import Box, Constraint, projected_gradient, undisturbed
from attacks.adversary import outside_inference
from attacks.constraints import Number, number
from attacks.objectives import Objective
from attacks.seeds import mix
from callbacks.interruption import interruptible
from callbacks.pictures import label_picture, on_one_size, picture, strip
from reports.gallery import save_picture, write_page


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
    """What came out: images `(B, 3, H, W)` in `[0, 1]`, and scores `(B,)` by name."""

    variant: str
    original: Tensor
    start: Tensor
    result: Tensor
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
        self.steps = steps
        self.step_size = number(step_size, "step_size")
        self.samples = samples
        self.every_n_epochs = every_n_epochs
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
                painting = Painting(plan.variant, batch["image"], plan.start, result)
                painting.scores = self.scores(painting, plan)
                paintings.append(painting)
            return paintings

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0 or last or trainer.state.fn != TrainerFn.FITTING
        if due and not trainer.sanity_checking:
            self._paint(trainer, pl_module, trainer.val_dataloaders)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._paint(trainer, pl_module, trainer.test_dataloaders)

    def _paint(self, trainer: Trainer, pl_module: LightningModule, loader: Any) -> None:
        if not trainer.is_global_zero:
            return
        gallery = Path(trainer.default_root_dir) / "gallery"
        shown: dict[str, Any] = {}
        scores: dict[str, list[float]] = {}
        for batch in map(trainer.precision_plugin.convert_input, self._batches(loader, pl_module.device)):
            network = pl_module.get_submodule("network")
            with interruptible(network, trainer):
                paintings = self.synthesize(network, batch)
            for painting in paintings:
                for name, values in painting.scores.items():
                    scores.setdefault(name, []).extend(values.tolist())
                for i, index in enumerate(batch["index"].tolist()):
                    name = f"{index:06d}{painting.variant and '_' + painting.variant}"
                    shown[name] = self._save(gallery / self.task / name, painting, batch["label"][i], i, trainer)
        self.results = {name: sum(values) / len(values) for name, values in scores.items()}
        write_page([Path(trainer.default_root_dir)], gallery / "index.html")
        for logger in trainer.loggers:
            if self.results:
                logger.log_metrics(
                    {f"synthesis/{self.task}_{k}": v for k, v in self.results.items()}, trainer.global_step
                )
            if hasattr(logger, "log_image"):
                captions = [f"{name}: original, start, result" for name in shown]
                images = on_one_size(list(shown.values()))
                logger.log_image(f"synthesis/{self.task}", images, trainer.global_step, caption=captions)

    def _save(self, folder: Path, painting: Painting, label: Tensor, i: int, trainer: Trainer) -> Any:
        """Write one sample's pictures; returns the strip original | start | result."""
        if not (folder / "start.png").is_file():
            save_picture(picture(painting.original[i]), folder / "original.png")
            if label.ndim == 2:
                save_picture(label_picture(label), folder / "label.png")
            save_picture(picture(painting.start[i]), folder / "start.png")
        save_picture(picture(painting.result[i]), folder / f"epoch_{trainer.current_epoch:04d}.png")
        return strip(painting.original[i], painting.start[i], painting.result[i])

    def _batches(self, loader: Any, device: torch.device) -> Iterator[dict[str, Any]]:
        """The chosen samples, in one batch where they have one size, else one by one."""
        data = loader.dataset
        chosen = self.samples if isinstance(self.samples, list) else _spread(self.samples, len(data))
        if max(chosen) >= len(data):
            raise MisconfigurationException(f"{self.task}: sample {max(chosen)} of a set of {len(data)}; set `samples`")
        samples = [data[index] for index in chosen]
        one_size = len({sample["image"].shape for sample in samples}) == 1
        for group in [samples] if one_size else [[sample] for sample in samples]:
            yield {
                "image": torch.stack([sample["image"] for sample in group]).to(device),
                "label": torch.stack([torch.as_tensor(sample["label"]) for sample in group]).to(device),
                "index": torch.tensor([sample["index"] for sample in group], device=device),
            }


def _spread(count: int, length: int) -> list[int]:
    """`count` indices spread evenly over `range(length)`."""
    count = min(count, length)
    return [i * length // count for i in range(count)]


def channel_mean(image: Tensor) -> Tensor:
    """Each image filled with its own mean per channel."""
    return image.mean((2, 3), keepdim=True).expand_as(image)
