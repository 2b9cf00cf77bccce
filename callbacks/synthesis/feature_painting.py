"""Painting with features: units of the representation raised in chosen places, one after the other."""

from typing import Any

from torch import Tensor, nn

from attacks.constraints import Constraint, Number, Region
from attacks.objectives import Objective
from callbacks.synthesis.base import Plan, Plans, at_least_0
from callbacks.synthesis.masks import Place, check_places, square_at
from callbacks.synthesis.objectives import Activation, Inside, KeepOutside, activations
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.representation import region_of
from callbacks.synthesis.representation_task import RepresentationTask


class FeaturePainting(RepresentationTask):
    """Paints features into an image, each where its mask says (Santurkar et al. 2019, eq. 5).

    One after the other maximises 0.1 R(x')_k - weight * mean((x - x')^2 (1 - m)), where x is what became of the feature
    before, at first the image, and m is true in the mask. The second term is the mean of squares over all pixels and
    channels, so that `weight` means the same at any resolution; the scale of 0.1, and the defaults, are those of the
    authors' code. Of a segmentation network R(x')_k is the mean of the dense representation inside the mask: where the
    unit is 0 all over it, nothing is painted without `fake_relu`. In a mask of n pixels an eps above sqrt(3 n) is no
    limit, and the paint saturates: for small ones take a fraction of that.

    The masks are the batch's `mask`, of one channel, or of one for each feature; else squares. A picture for each
    feature, with those before it. Scores the unit in it, `activation`, and before, `activation_start`.

    Args:
        features: the units, in the order in which they are painted.
        places: where the squares are, from (0, 0), the top left, to (1, 1), the bottom right: one for each feature, or
            one for all; by default the middle.
        size: height and width of the squares, in pixels; at most half the image is covered in each direction.
        weight: lambda of eq. 5.
        exact: no pixel outside the mask moves at all, in place of the penalty.

    Raises:
        ValueError: on a setting out of its range.
    """

    task = "feature_painting"

    def __init__(
        self,
        features: list[int],
        constraint: Constraint | float = 70.0,
        steps: int = 140,
        step_size: Number = 1.0,
        places: list[Place] | None = None,
        size: int | tuple[int, int] = 100,
        weight: float = 90.0,
        exact: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, **kwargs)
        if not features:
            raise ValueError("features=[]: one unit of the representation or more")
        check_places(places or [])
        if places is not None and len(places) not in (1, len(features)):
            raise ValueError(f"places: {len(places)} for {len(features)} features; one for each, or one for all")
        self.size = (size, size) if isinstance(size, int) else size
        if min(self.size) < 1:
            raise ValueError(f"size={size}: must be 1 pixel or more")
        self.features, self.places, self.weight = features, places, at_least_0(weight, "weight")
        self.exact = exact

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image = batch["image"]
        representation, masks = self.represent(network, image), self._masks(batch)
        for unit in self.features:
            representation.check_unit(unit, "features")
        for number, (unit, mask) in enumerate(zip(self.features, masks, strict=True), start=1):
            objective: Objective = Activation(representation, unit, mask, weight=0.1)
            if self.exact:
                constraint = self.constraint & Region(mask)
                objective = Inside(objective, image, mask)
            else:
                constraint = self.constraint
                objective = KeepOutside(objective, image, mask, self.weight)
            image = yield Plan(image, objective, constraint, f"{number:02d}_feature_{unit:04d}", mask)

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        return activations(plan.objective, painting.start, painting.result)

    def _masks(self, batch: dict[str, Any]) -> list[Tensor]:
        """One for each feature, bool `(B, 1, H, W)`."""
        mask, features = region_of(batch), len(self.features)
        if mask is None:
            places = self.places or [(0.5, 0.5)]
            masks = [square_at(place, batch["image"], self.size) for place in places]
        else:
            masks = list(mask.split(1, 1))
        if len(masks) not in (1, features):
            raise ValueError(f"a mask has {len(masks)} channels for {features} features; one for each, or one for all")
        return masks if len(masks) == features else masks * features
