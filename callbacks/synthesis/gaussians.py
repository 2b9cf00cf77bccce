"""Where generation begins: a Gaussian for each class, fitted on training images (Santurkar et al. 2019, sec. 3.1)."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor

from reports.files import write_whole

RANK = 256
"""Directions that are kept of a covariance, which has no more of them than images less one."""

SIDE = 64
"""Pixels of a side that images are reduced to, or a little less; ImageNet's 224 become 56, as in the authors' code."""


class Gaussian:
    """A normal distribution over small images, its covariance by its strongest directions.

    Args:
        mean: `(3, h, w)`.
        directions: `(r, 3, h, w)`; the covariance is the sum of their outer products.
    """

    def __init__(self, mean: Tensor, directions: Tensor) -> None:
        self.mean, self.directions = mean, directions

    def sample(self, noise: Tensor) -> Tensor:
        """Images `(B, 3, h, w)` in `[0, 1]` from standard normal noise, `(B, r)` or with more columns than are used."""
        used = noise[:, : len(self.directions)].to(self.directions)
        return (self.mean + torch.einsum("br,rchw->bchw", used, self.directions)).clamp(0, 1)

    def write(self, path: Path) -> None:
        """Write it as safetensors, whole."""
        write_whole(path, save({"mean": self.mean.contiguous(), "directions": self.directions.contiguous()}))

    @classmethod
    def read(cls, path: Path) -> "Gaussian":
        """Read what `write` wrote; raises ValueError if it is something else."""
        try:
            content = load(path.read_bytes())
            return cls(content["mean"], content["directions"])
        except Exception as error:
            raise ValueError(f"{path}: no Gaussian of a run ({error}); remove it, and it is fitted again") from error


def fitted(images: Iterable[Tensor], rank: int = RANK) -> Gaussian:
    """The mean of images `(3, h, w)` and their covariance (of the sample, not corrected for the mean's).

    Up to `rank` + 1 images it is exact; of more, the strongest directions are kept while the images pass by in blocks
    (Ross et al. 2008), so that no more than `2 rank` rows are in memory.

    Raises:
        ValueError: if there are no images.
    """
    count, mean, rows, shape = 0, torch.zeros(0), torch.zeros(0), torch.Size()
    for block in _blocks(images, rank):
        shape, new = block.shape[1:], block.flatten(1).double()
        if not count:
            mean, rows = torch.zeros_like(new[0]), new[:0]
        total, new_mean = count + len(new), new.mean(0)
        between = math.sqrt(count * len(new) / total) * (mean - new_mean)
        rows = _strongest(torch.cat([rows, new - new_mean, between[None]]), rank)
        mean, count = (count * mean + len(new) * new_mean) / total, total
    if not count:
        raise ValueError("no training images to fit a Gaussian on")
    return Gaussian(mean.float().view(shape), (rows / math.sqrt(count)).float().view(-1, *shape))


def _blocks(images: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    block: list[Tensor] = []
    for image in images:
        block.append(image)
        if len(block) == size:
            yield torch.stack(block)
            block = []
    if block:
        yield torch.stack(block)


def _strongest(rows: Tensor, rank: int) -> Tensor:
    """At most `rank` rows with (nearly) the same sum of outer products."""
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    kept = vectors[:, (values > values[-1] * 1e-12) & (values > 0)][:, -rank:]
    return kept.T.flip(0) @ rows


def reduction(size: tuple[int, int]) -> int:
    """By how many times images of a size are reduced: so that the shorter side has at most `SIDE` pixels."""
    return math.ceil(min(size) / SIDE)


class ClassGaussians:
    """The Gaussians of the classes, fitted when they are asked for, and kept in a run's folder.

    Args:
        folder: where they are kept, as `<class>.safetensors`; None keeps them in memory only.
        training_images: gives the training set, samples of `image` and `label` without augmentation.
    """

    def __init__(self, folder: Path | None, training_images: Any = None) -> None:
        self.folder, self.training_images = folder, training_images
        self._known: dict[int, Gaussian] = {}

    def of(self, label: int, size: tuple[int, int], name: str) -> Gaussian:
        """That of a class, for images of a size (H, W).

        Raises:
            ValueError: if the class has no training images, or they cannot be had.
        """
        small = tuple(length // reduction(size) for length in size)
        path = None if self.folder is None else self.folder / f"{label}.safetensors"
        if label not in self._known and path is not None and path.is_file():
            self._known[label] = Gaussian.read(path)
        known = self._known.get(label)
        if known is None or tuple(known.mean.shape[1:]) != small:
            known = self._known[label] = self._fit(label, small, name)
            if path is not None:
                known.write(path)
        return known

    def _fit(self, label: int, size: tuple[int, ...], name: str) -> Gaussian:
        if self.training_images is None:
            raise ValueError(
                f"class {name}: no Gaussian is kept for it, and there are no training images to fit one on"
            )
        data = self.training_images()
        labels = getattr(data, "labels", None)
        places = range(len(data)) if labels is None else np.flatnonzero(np.asarray(labels) == label).tolist()
        samples = (data[place] for place in places)
        images = (
            F.interpolate(each["image"][None], size, mode="area")[0] for each in samples if each["label"] == label
        )
        try:
            return fitted(images)
        except ValueError as error:
            raise ValueError(f"class {name} has {error}; take start=mean, or another class") from error
