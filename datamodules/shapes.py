"""Shapes drawn in code: a data set with a robust cue and a fragile one, so that the paper's claim can be measured."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules.base import DataModule, Split, check_range
from datamodules.images import DataError

COLORS = np.array([[0.50, 0.50, 0.50], [0.80, 0.22, 0.22], [0.22, 0.66, 0.28], [0.85, 0.76, 0.22], [0.25, 0.35, 0.82]])
"""The robust cue: a colour per class, coarse but unreliable, since each object's is noisy."""


def texture(label: np.ndarray) -> np.ndarray:
    """The fragile cue: each class's own pattern of a pixel or two, -1 or 1; 0 on the background."""
    y, x = np.indices(label.shape)
    stripes = (x % 2, y % 2, (x + y) % 2, (x + y) // 2 % 2)
    return np.choose(label, [np.zeros(label.shape), *(2.0 * pattern - 1 for pattern in stripes)])


def silhouette(kind: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Which points of a plane belong to the shape of class `kind`, of radius about 1."""
    if kind == 1:  # disc
        return x**2 + y**2 < 1
    if kind == 2:  # square
        return np.maximum(abs(x), abs(y)) < 0.88
    if kind == 3:  # triangle
        return (y < 0.75) & (y > 1.9 * abs(x) - 1.1)
    return (np.minimum(abs(x), abs(y)) < 0.36) & (np.maximum(abs(x), abs(y)) < 1.05)  # cross


@dataclass(frozen=True)
class ShapeSet(Dataset[dict[str, Any]]):
    """`length` pictures of one to three shapes, or of one; the picture of an index depends on `seed` and it alone."""

    length: int
    seed: int
    size: int
    texture: float
    color_noise: float
    pixel_noise: float
    dense: bool

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(index)
        image, label = self._draw(np.random.default_rng([self.seed, index]))
        sample = {"image": torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)), "index": index}
        if self.dense:
            return {**sample, "label": torch.from_numpy(label)}
        rows, columns = np.flatnonzero(label.any(1)), np.flatnonzero(label.any(0))
        box = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=torch.float32)
        return {**sample, "label": int(label.max()) - 1, "box": box}

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """An image `(H, W, 3)` in `[0, 1]` and its label map `(H, W)`; later shapes cover earlier ones."""
        label = np.zeros((self.size, self.size), dtype=np.int64)
        color = np.tile(COLORS[0] + rng.normal(0, self.color_noise, 3), (self.size, self.size, 1))
        grid = np.indices(label.shape)
        # A single shape is larger and lies further inside, so that all of it can be seen.
        radii, margin = ((0.15, 0.3), 0.15) if self.dense else ((0.25, 0.35), 0.39)
        for _ in range(rng.integers(1, 4) if self.dense else 1):
            kind = int(rng.integers(1, len(COLORS)))
            radius = self.size * rng.uniform(*radii)
            center = self.size * rng.uniform(margin, 1 - margin, 2)
            inside = silhouette(kind, *(grid - center[:, None, None]) / radius)
            label[inside] = kind
            color[inside] = COLORS[kind] + rng.normal(0, self.color_noise, 3)
        # The texture must fit into [0, 1] on any colour, or it would tell less on saturated ones.
        image = np.clip(color, self.texture, 1 - self.texture) + self.texture * texture(label)[..., None]
        return np.clip(image + rng.normal(0, self.pixel_noise, image.shape), 0, 1), label


class Shapes(DataModule):
    """Discs, squares, triangles and crosses on a plain background, drawn in code: no files, always the same.

    Each class has two cues, after section 2.3 of the paper: a coarse one that survives a perturbation (its shape and a
    noisy colour), and a fine texture that predicts it perfectly but is weaker than the training eps of 0.06. Standard
    training leans on the texture and is fragile; adversarial training cannot.

    With `labels: class` each picture has one shape, its class as label, and its `box`: left, top, right and bottom in
    pixels.

    Args:
        labels: `map` for a class for each pixel, `class` for one for each image.
        train_samples: number of training images.
        val_samples: number of validation images; the test set has as many others.
        size: height and width in pixels.
        texture: amplitude of the fragile cue, in pixel units.
        color_noise: standard deviation of each object's colour around its class's, in pixel units.
        pixel_noise: standard deviation of the noise of each pixel.
        seed: another seed draws other pictures.
        batch_size: training samples per step and device.
        eval_batch_size: evaluation samples per step and device.
        num_workers: processes per device that draw.
        predict_images: folder of images for `predict`.
    """

    def __init__(
        self,
        labels: Literal["map", "class"] = "map",
        train_samples: int = 1200,
        val_samples: int = 96,
        size: int = 64,
        texture: float = 0.045,
        color_noise: float = 0.1,
        pixel_noise: float = 0.02,
        seed: int = 0,
        batch_size: int = 32,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        predict_images: str | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, predict_images)
        if labels not in ("map", "class"):
            raise DataError(f"labels={labels!r}: map or class")
        check_range("train_samples", train_samples, 1)
        check_range("val_samples", val_samples, 1)
        check_range("size", size, 1)
        self.dense = labels == "map"
        self.classes = ("background",) * self.dense + ("disc", "square", "triangle", "cross")
        self.train_samples, self.val_samples, self.seed = train_samples, val_samples, seed
        self.size, self.texture, self.color_noise, self.pixel_noise = size, texture, color_noise, pixel_noise

    def make_set(self, split: Split) -> ShapeSet:
        length = self.train_samples if split == "train" else self.val_samples
        seed = 3 * self.seed + ("train", "val", "test").index(split)
        return ShapeSet(length, seed, self.size, self.texture, self.color_noise, self.pixel_noise, self.dense)
