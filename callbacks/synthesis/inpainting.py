"""Inpainting with a robust network's gradients (eq. 6 of the paper)."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from attacks.constraints import Constraint, Number
from attacks.objectives import CrossEntropy, valid_pixels
from attacks.seeds import uniform
from callbacks.synthesis.base import Plan, Plans, Synthesis, channel_mean
from callbacks.synthesis.objectives import KeepOutside
from callbacks.synthesis.painting import Painting


class Inpainting(Synthesis):
    """Fills a hole so that the network sees the true labels (eq. 6).

    Minimises L(x', y) + weight * mean((x - x')^2 (1 - m)).
    x is the image with its hole filled by its per-channel mean, m is true in the hole, L the cross-entropy of the true
    labels over the whole image. The second term is the mean of squares over all pixels and channels, so that `weight`
    means the same at any resolution.

    Scores the error left in the hole after a Gaussian blur, `blurred_error`, and that of the mean fill alone,
    `blurred_error_start`: the mean squared difference of colours at the scale of objects, which neither pixel noise
    nor fine patterns can lower.

    Args:
        constraint: how far the picture may move from its start.
        steps: number of gradient steps.
        step_size: length of a step in pixel units.
        size: height and width of the hole, in pixels; at most half the image is covered in each direction.
        places: where the holes are, from (0, 0), the top left, to (1, 1), the bottom right; a picture for each. By
            default one hole, centred on a random pixel of an object (any class but 0), the same in every epoch.
        weight: lambda of eq. 6.
        samples: how many validation samples, spread evenly over the set, or their indices.
        every_n_epochs: paint after the evaluation of every n-th epoch; the last one is always painted.

    Raises:
        ValueError: on a setting out of its range.
    """

    task = "inpainting"

    def __init__(
        self,
        constraint: Constraint,
        steps: int,
        step_size: Number,
        size: int | tuple[int, int] = 100,
        places: list[tuple[float, float]] | None = None,
        weight: float = 10.0,
        samples: int | list[int] = 8,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(constraint, steps, step_size, samples, every_n_epochs)
        self.size = (size, size) if isinstance(size, int) else size
        if min(self.size) < 1:
            raise ValueError(f"Inpainting: size={size} must be 1 pixel or more")
        if not 0 <= weight < math.inf:
            raise ValueError(f"Inpainting: weight={weight} must be 0 or more")
        if places is not None and not all(0 <= at <= 1 for place in places for at in place):
            raise ValueError(f"Inpainting: places={places} lie between (0, 0) and (1, 1)")
        self.places = places
        self.weight = weight

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image, label = batch["image"], batch["label"]
        for number, place in enumerate(self.places or [None]):
            corners = _at(place, image, self.size) if place else _on_objects(image, label, self.size, seed)
            hole = _holes(image, corners, self.size)
            start = torch.where(hole, channel_mean(image), image)
            objective = KeepOutside(CrossEntropy(network, start, label), start, hole, self.weight)
            yield Plan(start, objective, self.constraint, f"place_{number}" if self.places else "", hole)

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        assert plan.hole is not None
        return {
            "blurred_error": blurred_error(painting.result, painting.original, plan.hole),
            "blurred_error_start": blurred_error(painting.start, painting.original, plan.hole),
        }


def blurred_error(result: Tensor, original: Tensor, hole: Tensor) -> Tensor:
    """Mean squared error in the hole after a Gaussian blur of a thirtieth of the image's height, `(B,)`."""
    sigma = max(original.shape[-2] / 30, 0.5)
    kernel = 2 * round(2 * sigma) + 1
    difference = gaussian_blur(result - original, [kernel, kernel], [sigma, sigma])
    inside = hole.expand_as(original)
    return (difference.square() * inside).flatten(1).sum(1) / inside.flatten(1).sum(1)


def _fit(size: tuple[int, int], image: Tensor) -> tuple[int, int]:
    """The hole's size, cut down where it would cover more than half the image's height or width."""
    return min(size[0], image.shape[-2] // 2), min(size[1], image.shape[-1] // 2)


def _at(place: tuple[float, float], image: Tensor, size: tuple[int, int]) -> Tensor:
    """Top left corners `(B, 2)` of holes at one place, given as fractions of the way from the top left."""
    height, width = _fit(size, image)
    corner = [round(place[0] * (image.shape[-2] - height)), round(place[1] * (image.shape[-1] - width))]
    return torch.tensor([corner] * len(image))


def _on_objects(image: Tensor, label: Tensor, size: tuple[int, int], seed: Tensor) -> Tensor:
    """Top left corners `(B, 2)` of holes centred on a random pixel of an object, or on any pixel if there is none."""
    height, width = _fit(size, image)
    corners = []
    for i, u in enumerate(uniform(image[:, 0, :1, 0].cpu().double(), seed)[:, 0].tolist()):
        everywhere = torch.ones(image.shape[-2:], dtype=torch.bool)
        objects = (valid_pixels(label[i]) & (label[i] != 0)).cpu() if label.ndim > 1 else everywhere
        points = (objects if objects.any() else everywhere).nonzero()
        y, x = points[int(u * len(points))].tolist()
        top = min(max(y - height // 2, 0), image.shape[-2] - height)
        left = min(max(x - width // 2, 0), image.shape[-1] - width)
        corners.append([top, left])
    return torch.tensor(corners)


def _holes(image: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """True `(B, 1, H, W)` inside the holes."""
    height, width = _fit(size, image)
    hole = torch.zeros(len(image), 1, *image.shape[-2:], dtype=torch.bool, device=image.device)
    for i, (top, left) in enumerate(corners.tolist()):
        hole[i, :, top : top + height, left : left + width] = True
    return hole
