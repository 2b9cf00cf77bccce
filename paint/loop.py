"""The loop of `paint`: pictures of one working size in batches, through a network."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch.utils.data import Dataset

from attacks.objectives import logits_of
from callbacks import PictureCallback
from command_line import UserError
from lightning_modules.contract import look_at_logits
from paint.files import Picture, Sample, Side, read_sample, why
from paint.progress import Bars
from paint.record import Record
from trained_network import Size, Trained

T = TypeVar("T")

MULTIPLES = (8, 16, 32, 64)
"""What the sides may have to be multiples of, for a network that takes no others."""


@dataclass
class Painter:
    """A network and a task of its own, which paint.

    Args:
        trained: the network; it is moved to the device.
        task: what is painted.
        size: the working size.
        device: where.
        seed: for what is random.
    """

    trained: Trained
    task: PictureCallback
    size: Size
    device: torch.device
    seed: int
    outputs: int = 0
    """How many classes the network tells apart; known after the first look."""
    dense: bool = False
    """Whether it gives a class for each pixel; likewise."""
    _fitting: dict[Side, Side | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.trained.name
        self.network = self.trained.network.to(self.device)
        floats = {each.dtype for each in self.network.parameters() if each.is_floating_point()}
        self.dtype = torch.float64 if floats == {torch.float64} else torch.float32
        self.task.folder, self.task.training_images = self.trained.folder, self.trained.training_images

    def first_look(self, pictures: list[Picture]) -> None:
        """Show the network pictures until it takes one; then it is known how many classes there are.

        Raises:
            UserError: if it takes none.
        """
        self._first(pictures, self.fitting)
        known = len(self.trained.classes) == self.outputs
        self.task.classes = self.trained.classes = self.trained.classes if known else []

    def check(self, pictures: list[Picture]) -> None:
        """Look whether the task can be painted, with the first picture that can be read and what belongs to it.

        Raises:
            UserError: if it cannot, or none can be read.
        """
        sample = self._first(pictures, self._read)
        label = sample.tensors.get("label")
        if label is not None and (label.ndim > 0) != self.dense:
            kinds = ("one class for each image", "a class for each pixel")
            raise UserError(f"--labels: say {kinds[label.ndim > 0]}, and {self.name} says {kinds[self.dense]}")
        try:
            self.task.check(self.network, self._batch([sample]))
        except ValueError as error:
            raise UserError(f"{type(self.task).__name__}: {error}") from error

    def paint(self, pictures: list[Picture], batch_size: int, record: Record, bars: Bars) -> None:
        """Paint what is not done yet; what cannot be painted is told and left out."""
        self.task.tick = bars.tick
        if type(self.task).look_at is not PictureCallback.look_at:
            self.task.look_at(Readable(self, pictures), self.network)
        for group in self._groups(pictures, batch_size, record, bars):
            samples = []
            for picture in group:
                try:
                    if not record.is_done(self.name, picture):
                        samples.append(self._read(picture))
                except (ValueError, OSError) as error:
                    _skip(picture, why(error), record, bars)
            if samples:
                self._paint(samples, record, bars)
                record.write()
            bars.done(len(group))

    def fitting(self, picture: Picture) -> Side:
        """The size at which the network gets a picture: the working size, or multiples near it that it can take.

        Raises:
            ValueError: if it can take none.
        """
        wanted = _resized(picture.size, self.size)
        if wanted not in self._fitting:
            self._fitting[wanted] = self._look(wanted)
        found = self._fitting[wanted]
        if isinstance(found, str):
            raise ValueError(f"{picture.path}: {self.name} cannot take {wanted[0]} x {wanted[1]} pixels: {found}")
        return found

    def _look(self, wanted: Side) -> Side | str:
        """The size that the network takes in a size's place, or why it takes none."""
        reason = ""
        near = [(round(wanted[0] / each) * each, round(wanted[1] / each) * each) for each in MULTIPLES]
        for size in dict.fromkeys([wanted, *near]):
            if min(size) < 1:
                break
            image = torch.full((1, 3, *size), 0.5, dtype=self.dtype, device=self.device)
            try:
                with torch.no_grad():
                    logits = logits_of(self.network(image))
                look_at_logits(logits, {"image": image}, 0, self.network)
            except torch.OutOfMemoryError as error:
                raise _too_much() from error
            except Exception as error:  # of anybody's network
                reason = reason or f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                continue
            self.outputs, self.dense = logits.shape[1], logits.ndim > 2
            return size
        return reason

    @staticmethod
    def _first(pictures: list[Picture], look: Callable[[Picture], T]) -> T:
        """What is found of the first picture with which that goes; the others are told when their turn comes."""
        reasons = []
        for picture in pictures:
            try:
                return look(picture)
            except (ValueError, OSError) as error:
                reasons.append(why(error))
        raise UserError(nothing(reasons))

    def _groups(self, pictures: list[Picture], batch_size: int, record: Record, bars: Bars) -> Iterator[list[Picture]]:
        """Batches of one size: always the same ones, whatever of them is done."""
        by_size: dict[Side, list[Picture]] = {}
        for picture in pictures:
            try:
                by_size.setdefault(self.fitting(picture), []).append(picture)
            except ValueError as error:
                _skip(picture, str(error), record, bars)
                bars.done()
        for group in by_size.values():
            for begin in range(0, len(group), batch_size):
                yield group[begin : begin + batch_size]

    def _read(self, picture: Picture) -> Sample:
        return read_sample(picture, self.fitting(picture), self.seed, self.trained.classes, self.outputs)

    def _batch(self, samples: list[Sample]) -> dict[str, Any]:
        batch = {key: torch.stack([each.tensors[key] for each in samples]) for key in samples[0].tensors}
        return {
            key: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for key, value in batch.items()
        }

    def _paint(self, samples: list[Sample], record: Record, bars: Bars) -> None:
        """Paint a batch; if that fails, its pictures one by one, so that the others come out."""
        bars.begin(self.task.ticks)
        try:
            paintings = self.task.synthesize(self.network, self._batch(samples))
        except torch.OutOfMemoryError as error:
            raise _too_much() from error
        except (ValueError, RuntimeError) as error:
            if os.environ.get("SADDLE_DEBUG"):
                raise
            if len(samples) > 1:
                for sample in samples:
                    self._paint([sample], record, bars)
            else:
                picture = samples[0].picture
                _skip(picture, f"{picture.path}: {self.name}: {' '.join(str(error).split())}", record, bars)
            return
        finite = torch.stack([painting.finite for painting in paintings]).all(0)
        for i, sample in enumerate(samples):
            path = sample.picture.path
            try:
                if not finite[i]:
                    raise ValueError(f"{path}: {self.name} met NaN or infinity")
                record.add(self.name, sample, paintings, i, self.trained.classes)
            except ValueError as error:
                _skip(sample.picture, str(error), record, bars)


class Readable(Dataset[dict[str, Any]]):
    """The pictures that can be read, as the network gets them: samples of an `image` `(3, H, W)` each."""

    def __init__(self, painter: Painter, pictures: list[Picture]) -> None:
        self.painter, self.pictures = painter, []
        for picture in pictures:
            with suppress(ValueError, OSError):
                self._read(picture)
                self.pictures.append(picture)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self._read(self.pictures[index])}

    def _read(self, picture: Picture) -> torch.Tensor:
        alone = Picture(picture.name, picture.path, picture.size)
        return read_sample(alone, self.painter.fitting(picture), 0, [], 0).tensors["image"]


def nothing(reasons: list[str]) -> str:
    """That nothing can be painted, and why."""
    return f"none of the {len(reasons)} pictures can be painted: {reasons[0]}"


def _skip(picture: Picture, reason: str, record: Record, bars: Bars) -> None:
    record.skip(picture.name, reason)
    bars.tell(f"skipped: {reason}")


def _resized(size: Side, wanted: Size) -> Side:
    """A size after its short side was resized, as torchvision does it."""
    if not isinstance(wanted, int):
        return size if wanted is None else wanted
    short, long = sorted(size)
    other = max(1, int(wanted * long / short))
    return (wanted, other) if size[0] <= size[1] else (other, wanted)


def _too_much() -> UserError:
    return UserError("out of memory: lower --batch_size or --size; the same command then goes on where it stopped")
