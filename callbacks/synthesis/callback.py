"""What every callback that shows pictures shares: which samples, when, on which process, where the pictures go."""

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import nn

from callbacks.interruption import interruptible
from callbacks.synthesis.gallery import Exhibition, collect, epochs_of, settings, tell
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.pictures import on_one_size
from callbacks.synthesis.progress_bar import painting_bar
from reports.files import ReportError
from reports.gallery import write_page

N = TypeVar("N", int, float)

Class = int | str
"""A class, by its number or its name."""


class PictureCallback(Callback, ABC):
    """Shows pictures of a fixed handful of validation samples after every evaluation.

    They go to the run's gallery on disk and to every logger that takes images, under one stable key. Each process makes
    its share; the first one collects them once the evaluation has brought all together.

    Args:
        samples: how many validation samples, spread evenly over the set, or their indices.
        every_n_epochs: after the evaluation of every n-th epoch; the last one is always shown.

    Raises:
        ValueError: if a number is not above 0, or the list of samples is empty, has a negative one or one twice.
    """

    task: ClassVar[str]
    """The folder in the gallery and the key in the loggers."""

    pairs: bool = False
    """Whether each sample comes with another, the next of those that are shown, as `other`."""

    def __init__(self, samples: int | list[int] = 8, every_n_epochs: int = 1) -> None:
        self.samples = _distinct(samples) if isinstance(samples, list) else above_0(samples, "samples")
        self.every_n_epochs = above_0(every_n_epochs, "every_n_epochs")
        self.results: dict[str, float] = {}
        """Mean scores of the last time, and what was measured."""
        self.measured: dict[str, float] = {}
        """What was measured of more than the pictures, the same on every process."""
        self.classes: list[str] = []
        """The names of the classes; empty where they are not known."""
        self.folder: Path | None = None
        """The run's folder, for what is kept."""
        self.training_images: Callable[[], Any] | None = None
        """Gives the training set without augmentation; None where it cannot be had."""
        self.tick: Callable[[int], None] = _nothing
        """Called while pictures are made, with the number of steps since the call before."""
        self.ticks = 0
        """How many steps a batch takes, as far as that is known."""
        self._made = False

    @abstractmethod
    def synthesize(self, network: nn.Module, batch: dict[str, Any]) -> list[Painting]:
        """Make the pictures of a batch; the network is left as it was found."""

    def check(self, network: nn.Module, batch: dict[str, Any]) -> None:
        """Raises ValueError if a setting does not fit the network or a batch."""

    def look_at(self, data: Any, network: nn.Module) -> None:
        """Look at a data set before anything of it is painted; by default not at all."""

    def notes(self, scores: dict[str, float]) -> list[str]:
        """What is to be told of mean scores, in a line each; nothing by default."""
        return []

    def class_index(self, name: Class, setting: str) -> int:
        """The number of a class; raises ValueError if there is none of that name or number."""
        if isinstance(name, str) and name not in self.classes:
            close = difflib.get_close_matches(name, self.classes, n=3, cutoff=0.4)
            advice = f"did you mean {', '.join(close)}?" if close else f"the classes are {_some(self.classes)}"
            advice = advice if self.classes else "their names are not known here: give its number"
            raise ValueError(f"{setting}={name}: no class is called so; {advice}")
        index = self.classes.index(name) if isinstance(name, str) else name
        if index < 0 or (self.classes and index >= len(self.classes)):
            last = f" to {len(self.classes) - 1}" if self.classes else ""
            raise ValueError(f"{setting}={name}: classes are numbered from 0{last}")
        return index

    def first_look(self, trainer: Trainer, pl_module: LightningModule, datamodule: Any, data: Any) -> None:
        """Check the settings with the first sample that is to be shown, before anything begins.

        Args:
            trainer: says where the run will be.
            pl_module: whose network it is.
            datamodule: after its `setup`.
            data: the data set that the samples are from.

        Raises:
            MisconfigurationException: if one does not fit.
        """
        self._learn(trainer, datamodule)
        batch = next(self._batches(data, self._chosen(data)[:1], pl_module.device))
        try:
            self.check(pl_module.get_submodule("network"), trainer.precision_plugin.convert_input(batch))
        except ValueError as error:
            raise MisconfigurationException(f"{type(self).__name__}: {error}") from error

    def is_due(self, trainer: Trainer) -> bool:
        """Whether it shows something at the end of this evaluation."""
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0 or last or trainer.state.fn != TrainerFn.FITTING
        return due and not trainer.sanity_checking

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.is_due(trainer):
            self._make(trainer, pl_module, trainer.val_dataloaders)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._make(trainer, pl_module, trainer.test_dataloaders)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All processes have made their pictures: the evaluation's sums have passed between them since."""
        if self._made and trainer.is_global_zero:
            self._collect(trainer)
        self._made = False

    on_test_end = on_validation_end

    def _learn(self, trainer: Trainer, datamodule: Any) -> None:
        """What is known of the run."""
        self.classes = list(getattr(datamodule, "classes", []))
        self.folder = Path(trainer.default_root_dir)
        self.training_images = getattr(datamodule, "plain_training_set", None)

    def _make(self, trainer: Trainer, pl_module: LightningModule, loader: Any) -> None:
        """This process's share: every so many samples."""
        self._learn(trainer, getattr(trainer, "datamodule", None))
        exhibition = Exhibition(_folder(trainer) / self.task, settings(self), self.classes, _epochs(trainer))
        chosen = self._chosen(loader.dataset)
        mine = range(trainer.global_rank, len(chosen), trainer.world_size)
        network = pl_module.get_submodule("network")
        size = loader.batch_size or 1
        batches = self._batches(loader.dataset, chosen, pl_module.device, list(mine), size)
        steps = self.ticks * math.ceil(len(mine) / size)
        with painting_bar(trainer, self.task.replace("_", " "), steps) as self.tick, interruptible(network):
            if mine:
                self.look_at(loader.dataset, network)
            for batch in batches:
                for painting in self.synthesize(network, trainer.precision_plugin.convert_input(batch)):
                    names = [name_of(index, painting.variant) for index in batch["index"].tolist()]
                    exhibition.add(names, painting, batch.get("label"))
        self.tick = _nothing  # the bar has left
        exhibition.finish(trainer.global_rank)
        self._made = True

    def _collect(self, trainer: Trainer) -> None:
        folder = _folder(trainer)
        found = collect(folder / self.task, trainer.world_size)
        self.results = {name: sum(values) / len(values) for name, values in found.scores.items() if values}
        self.results |= self.measured
        notes = self.notes(self.results)
        tell(folder / self.task, notes)
        for note in notes:
            rank_zero_warn(f"{self.task}: {note}")
        try:
            write_page([Path(trainer.default_root_dir)], folder / "index.html")
        except ReportError as error:  # an old results file: no reason to stop
            rank_zero_warn(f"The gallery's page is not written. {error}")
        for logger in trainer.loggers:
            if self.results:
                logger.log_metrics(
                    {f"synthesis/{self.task}_{k}": v for k, v in self.results.items()}, trainer.global_step
                )
            if hasattr(logger, "log_image") and found.strips:
                images = on_one_size(found.strips)
                logger.log_image(f"synthesis/{self.task}", images, trainer.global_step, caption=found.captions)

    def _chosen(self, data: Any) -> list[int]:
        chosen = self.samples if isinstance(self.samples, list) else spread(self.samples, len(data))
        if max(chosen, default=-1) >= len(data):
            raise MisconfigurationException(f"{self.task}: sample {max(chosen)} of a set of {len(data)}; set `samples`")
        if self.pairs and len(chosen) == 1:
            raise MisconfigurationException(f"{self.task}: shows pairs of images, and there is one; set `samples`")
        return chosen

    def _batches(
        self, data: Any, chosen: list[int], device: torch.device, places: list[int] | None = None, batch_size: int = 1
    ) -> Iterator[dict[str, Any]]:
        """Those of the chosen samples that stand in some places, in batches of one size."""
        places = list(range(len(chosen))) if places is None else places
        group: list[tuple[dict[str, Any], ...]] = []
        for place in places:
            following = [chosen[(place + 1) % len(chosen)]] if self.pairs else []
            sample = tuple(data[index] for index in [chosen[place], *following])
            if group and (len(group) == batch_size or _size(sample) != _size(group[0])):
                yield self._batch(group, device)
                group = []
            group.append(sample)
        if group:
            yield self._batch(group, device)

    def _batch(self, group: list[tuple[dict[str, Any], ...]], device: torch.device) -> dict[str, Any]:
        batch = {
            "image": torch.stack([sample["image"] for sample, *_ in group]),
            "label": torch.stack([torch.as_tensor(sample["label"]) for sample, *_ in group]),
            "index": torch.tensor([sample["index"] for sample, *_ in group]),
        }
        if self.pairs:
            batch["other"] = torch.stack([other["image"] for _, other in group])
        if all("box" in sample for sample, *_ in group):
            batch["box"] = torch.stack([torch.as_tensor(sample["box"]) for sample, *_ in group])
        return {key: value.to(device) for key, value in batch.items()}


def _nothing(steps: int) -> None:
    """Where nobody watches."""


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def name_of(index: int, variant: str) -> str:
    """What a sample's pictures are called."""
    return f"{index:06d}{variant and '_' + variant}"


def above_0(value: N, name: str) -> N:
    """Raises ValueError if a number is not above 0."""
    if not value > 0:
        raise ValueError(f"{name}={value}: a number above 0")
    return value


def _size(samples: tuple[dict[str, Any], ...]) -> list[torch.Size]:
    return [sample["image"].shape for sample in samples]


def _folder(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / "gallery"


def _epochs(trainer: Trainer) -> int | None:
    """How many epochs the network has been trained for, the current one included; None where that is not known."""
    if trainer.state.fn == TrainerFn.FITTING:
        return trainer.current_epoch + 1
    return epochs_of(Path(trainer.ckpt_path)) if trainer.ckpt_path else None


def _distinct(samples: list[int]) -> list[int]:
    if not samples or min(samples) < 0 or len(set(samples)) < len(samples):
        raise ValueError(f"samples={samples}: indices of the data set, 0 or more, each once; or how many samples")
    return samples


def spread(count: int, length: int) -> list[int]:
    """`count` indices spread evenly over `range(length)`."""
    count = min(count, length)
    return [i * length // count for i in range(count)]
