"""Real images of each class, and which way leads from an image to another class: where its gradient should point."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.objectives import IGNORE_INDEX

Towards = Literal["nearest", "mean", "random"]
"""What of a class an image is to become like: the nearest of its exemplars, their mean, or one of them by lot."""

SIDE = 256
"""Pixels a side, at most, of what is kept of a class in a label map."""


@dataclass
class Aim:
    """Where the gradient of each sample should point.

    `label` is what the image is to become: a class `(B,)`; for label maps `(B, H, W)`, the class inside the region that
    is to change, and void (255) elsewhere. `direction` `(B, 3, H, W)` leads there, and is 0 outside the region. `known`
    `(B,)` is false where there is nothing to aim at, as in a label map that is all void.
    """

    label: Tensor
    direction: Tensor
    known: Tensor


class Exemplars:
    """A few images of each class, and for label maps cut-outs: what lies around the class's pixels, and where they are.

    A class of which there are none is never aimed at.

    Args:
        data: samples of `image` float32 `(3, H, W)` in `[0, 1]` and `label`, a class or a map `(H, W)`. It is read, in
            an order by lot that is the same every time, until there are enough of all classes.
        classes: number of classes C.
        per_class: how many of each class.
        skip: places in the data set that are left out.
        most: how many samples are read, at most; of many classes there are fewer exemplars then.

    Raises:
        ValueError: if there are fewer than two classes, or images with one class each have several sizes.
    """

    def __init__(
        self, data: Any, classes: int, per_class: int = 20, skip: Sequence[int] = (), most: int | None = None
    ) -> None:
        found: list[list[Tensor]] = [[] for _ in range(classes)]
        self.dense = False
        left_out = set(skip)
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
        for place in [place for place in order if place not in left_out][:most]:
            short = {index for index in range(classes) if len(found[index]) < per_class}
            if not short:
                break
            sample = data[place]
            self.dense = torch.as_tensor(sample["label"]).ndim > 0
            for index, image in _of_classes(sample, short):
                found[index].append(image)
        self.known = torch.tensor([bool(each) for each in found])
        if self.known.sum() < 2:
            raise ValueError(f"{len(data)} images hold {int(self.known.sum())} classes: two or more are needed")
        sizes = sorted({tuple(image.shape[1:]) for each in found for image in each})
        if len(sizes) > 1 and not self.dense:
            raise ValueError(f"images of {len(sizes)} sizes, such as {sizes[0]} and {sizes[1]}: give them one size")
        self.images = [_stacked(each) if each else torch.zeros(0, 4, *sizes[0], dtype=torch.uint8) for each in found]
        means = [_mean(each, self.dense) for each in self.images]
        self.means = torch.stack(means)

    def to(self, device: torch.device) -> "Exemplars":
        """Move them to a device; returns itself."""
        if self.means.device != device:
            self.images = [each.to(device) for each in self.images]
            self.means = self.means.to(device)
        return self

    def aim(self, image: Tensor, label: Tensor, chance: Tensor, towards: Towards = "nearest") -> Aim:
        """Choose another class for each sample, and the way there; of label maps first one of its classes, to change.

        Args:
            image: `(B, 3, H, W)` in `[0, 1]`.
            label: int64 `(B,)` or `(B, H, W)`.
            chance: three numbers in `[0, 1)` for each sample, `(B, 3)`, which decide.
            towards: what of the other class it is to become like.
        """
        present, chance = self._present(label).cpu(), chance.cpu()
        sources, known = _drawn(present, chance[:, 0])
        others = self.known & ~F.one_hot(sources, len(self.known)).bool()
        targets, found = _drawn(others, chance[:, 1])
        known = (known & found).to(image.device)
        regions = label == _per_sample(sources.to(label.device), label) if self.dense else known
        regions &= _per_sample(known, label)
        goals = [
            self._goal(*each, towards)
            for each in zip(image, targets.tolist(), regions, chance[:, 2].tolist(), strict=True)
        ]
        wanted = _per_sample(targets.to(label.device), label)
        if self.dense:
            wanted = torch.where(regions, wanted, IGNORE_INDEX)
        direction = torch.stack(goals).to(image) - image
        return Aim(wanted, direction * regions.view(len(image), 1, *(regions.shape[1:] or (1, 1))), known)

    def _present(self, label: Tensor) -> Tensor:
        """Which classes each sample has, bool `(B, C)`."""
        classes = len(self.known)
        flat = label.flatten(1) if label.ndim > 1 else label[:, None]
        counts = label.new_zeros(len(label), classes + 1)
        counts.scatter_add_(1, flat.where(flat < classes, classes), torch.ones_like(flat))
        return counts[:, :classes] > 0

    def _goal(self, image: Tensor, target: int, region: Tensor, lot: float, towards: Towards) -> Tensor:
        """What the image is to become like, `(3, H, W)`."""
        images, mean = self.images[target], self.means[target]
        if towards == "mean" or not len(images):
            return mean.expand_as(image)
        if towards == "random":
            images = images[[int(lot * len(images))]]
        goals = images[:, :3].float() / 255
        if self.dense:  # a cut-out in the middle of the region, amid the class's mean colour
            inside, goals = _laid(images[:, 3:] > 0, region), _laid(goals, region)
            goals = torch.where(inside, goals, mean)
        distances = ((goals - image).square() * region).flatten(1).sum(1)
        return goals.index_select(0, distances.argmin()[None])[0]


def _of_classes(sample: dict[str, Any], wanted: Container[int]) -> Iterator[tuple[int, Tensor]]:
    """What a sample has of some classes: uint8 `(4, h, w)`, the fourth channel where the class is."""
    image, label = (sample["image"] * 255).round().byte(), torch.as_tensor(sample["label"])
    there = torch.full_like(image[:1], 255)
    if label.ndim == 0:
        if int(label) in wanted:
            yield int(label), torch.cat([image, there])
        return
    for index in label.unique().tolist():
        if index in wanted:
            inside = label == index
            rows, columns = _extent(inside.any(1)), _extent(inside.any(0))
            yield index, torch.cat([image, there * inside])[:, rows, columns]


def _extent(line: Tensor) -> slice:
    """From the first to the last that is true, or the middle of it where that is more than `SIDE`."""
    places = line.nonzero().flatten().tolist()
    first, last = places[0], places[-1] + 1
    cut = max(0, last - first - SIDE)
    return slice(first + cut // 2, last - (cut - cut // 2))


def _stacked(images: list[Tensor]) -> Tensor:
    """Images in the middle of one size; what is added has nothing of the class."""
    height, width = (max(image.shape[dim] for image in images) for dim in (1, 2))
    stack = images[0].new_zeros(len(images), 4, height, width)
    for image, place in zip(images, stack, strict=True):
        top, left = (height - image.shape[1]) // 2, (width - image.shape[2]) // 2
        place[:, top : top + image.shape[1], left : left + image.shape[2]] = image
    return stack


def _mean(images: Tensor, dense: bool) -> Tensor:
    """The mean image `(3, H, W)`, or the mean colour of a class's pixels `(3, 1, 1)`; grey where there are none."""
    if not len(images):
        return torch.full((3, 1, 1) if dense else (3, *images.shape[2:]), 0.5)
    if not dense:
        return images[:, :3].float().mean(0) / 255
    inside = images[:, 3:] > 0
    return ((images[:, :3] * inside).sum((0, 2, 3)) / inside.sum() / 255).view(3, 1, 1)


def _laid(images: Tensor, region: Tensor) -> Tensor:
    """Images `(K, n, h, w)` on a canvas `(H, W)`, their middle in that of a region's extent; 0 around them."""
    (rows, of_rows), (columns, of_columns) = (_places(region.any(1 - dim), images.shape[2 + dim]) for dim in (0, 1))
    return images[:, :, rows][..., columns] * (of_rows[:, None] & of_columns)


def _places(line: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """For each place of a line, which one of `length` lies there if their middles meet, and whether one does."""
    last = len(line) - 1
    ends = line.int().argmax() + last - line.flip(0).int().argmax()  # of what is true, summed
    places = torch.arange(last + 1, device=line.device) - (ends + 1) // 2 + length // 2
    return places.clamp(0, length - 1), (places >= 0) & (places < length)


def _drawn(choices: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
    """One of the choices, true in `(B, C)`, by a number in `[0, 1)` each; and whether there is any."""
    counts = choices.sum(1)
    place = (chance * counts).long().clamp(max=counts.clamp(min=1) - 1)
    return ((choices.cumsum(1) > place[:, None]) & choices).int().argmax(1), counts > 0


def _per_sample(values: Tensor, label: Tensor) -> Tensor:
    return values.view(-1, *[1] * (label.ndim - 1))
