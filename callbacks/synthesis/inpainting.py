"""Inpainting with a robust network's gradients: eq. 6 of the paper, eq. 3 of Santurkar et al. 2019."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from attacks.constraints import Constraint, Number, Region
from attacks.objectives import CrossEntropy, Objective
from callbacks.synthesis.base import Plan, Plans, Synthesis, at_least_0, channel_mean, labels_of
from callbacks.synthesis.masks import (
    Place,
    check_places,
    masks_in,
    objects_of,
    random_square,
    scaled,
    square_at,
)
from callbacks.synthesis.objectives import Inside, KeepOutside
from callbacks.synthesis.painting import Painting


class Inpainting(Synthesis):
    """Fills a hole so that the network sees the true labels: of each pixel (eq. 6), or of the image (eq. 3).

    Minimises L(x', y) + weight * mean((x - x')^2 (1 - m)).
    x is the image with its hole filled by its per-channel mean, m is true in the hole, L the cross-entropy of the
    labels over the whole image. The second term is the mean of squares over all pixels and channels, so that `weight`
    means the same at any resolution. The defaults are those of Santurkar et al. 2019 and their code.

    Scores the error left in the hole after a Gaussian blur, `blurred_error`, and that of the mean fill alone,
    `blurred_error_start`: the mean squared difference of colours at the scale of objects, which neither pixel noise
    nor fine patterns can lower.

    Args:
        size: height and width of the hole, in pixels; at most half the image is covered in each direction.
        places: where the holes are, from (0, 0), the top left, to (1, 1), the bottom right; a picture for each.
        masks: an image file, or a folder of them, in place of squares: white is the hole, scaled to the image's size; a
            picture for each.
        where: a hole on a random pixel of an object (any class but 0), where label maps tell, or `anywhere`; the same
            in every epoch. For squares without places.
        weight: lambda of eq. 6 and 3.
        exact: no pixel outside the hole moves at all, in place of the penalty.
        labels: the ones `given`, or those `predicted` from the image with its hole.

    Raises:
        ValueError: on a setting out of its range, or a mask that cannot be read.
    """

    task = "inpainting"

    def __init__(
        self,
        constraint: Constraint | float = 21.6,
        steps: int = 720,
        step_size: Number = 0.1,
        size: int | tuple[int, int] = 60,
        places: list[Place] | None = None,
        masks: str | None = None,
        where: Literal["objects", "anywhere"] = "objects",
        weight: float = 10.0,
        exact: bool = False,
        labels: Literal["given", "predicted"] = "given",
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, **kwargs)
        self.size = (size, size) if isinstance(size, int) else size
        if min(self.size) < 1:
            raise ValueError(f"size={size}: must be 1 pixel or more")
        at_least_0(weight, "weight")
        check_places(places or [])
        if masks is not None and places:
            raise ValueError(f"masks={masks} and places={places}: holes are the one or the other")
        self.places, self.masks, self.where, self.weight = places, masks, where, weight
        self.exact, self.labels = exact, labels
        self._masks = [] if masks is None else list(masks_in(Path(masks).expanduser()))

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image = batch["image"]
        for variant, hole in self._holes(batch, seed):
            start = torch.where(hole, channel_mean(image), image)
            given = batch if self.labels == "given" else {"image": start}
            label = labels_of(network, given, start)
            objective: Objective = CrossEntropy(network, start, label)
            if self.exact:
                constraint = self.constraint & Region(hole)
                objective = Inside(objective, start, hole)
            else:
                constraint = self.constraint
                objective = KeepOutside(objective, start, hole, self.weight)
            yield Plan(start, objective, constraint, variant, hole, label)

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        assert plan.hole is not None
        return {
            "blurred_error": blurred_error(painting.result, painting.original, plan.hole),
            "blurred_error_start": blurred_error(painting.start, painting.original, plan.hole),
        }

    def _holes(self, batch: dict[str, Any], seed: Tensor) -> Iterator[tuple[str, Tensor]]:
        image = batch["image"]
        if "mask" in batch:
            yield "", batch["mask"]
        elif self._masks:
            for name, mask in self._masks:
                yield f"mask_{name}", scaled(mask, image)
        elif self.places:
            for number, place in enumerate(self.places):
                yield f"place_{number}", square_at(place, image, self.size)
        else:
            objects = objects_of(batch["label"]) if self.where == "objects" and "label" in batch else None
            yield "", random_square(image, seed, self.size, objects)


def blurred_error(result: Tensor, original: Tensor, hole: Tensor) -> Tensor:
    """Mean squared error in the hole after a Gaussian blur of a thirtieth of the image's height, `(B,)`."""
    sigma = max(original.shape[-2] / 30, 0.5)
    kernel = 2 * round(2 * sigma) + 1
    difference = gaussian_blur(result - original, [kernel, kernel], [sigma, sigma])
    inside = hole.expand_as(original)
    return (difference.square() * inside).flatten(1).sum(1) / inside.flatten(1).sum(1)
