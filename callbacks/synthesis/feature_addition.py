"""Feature addition: a unit of the representation raised until it leads, the rest of the image kept."""

from typing import Any

from torch import Tensor, nn

from attacks.constraints import Constraint, Number
from callbacks.synthesis.base import Plan, Plans
from callbacks.synthesis.feature_visualization import distinct, variant_of
from callbacks.synthesis.objectives import ClippedActivation, activations
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.representation import region_of
from callbacks.synthesis.representation_task import RepresentationTask


class FeatureAddition(RepresentationTask):
    """Adds a feature to an image (Engstrom et al. 2019, eq. 7): maximises R(x')_i until it is the highest unit.

    Then the picture moves no more, so that an image whose highest unit it is stays as it is. Of a segmentation
    network's dense representation the units are means over its pixels, or over those of the batch's `mask`. The
    defaults are those of the paper's code.

    Scores the unit in the result, `activation`, and in the image, `activation_start`.

    Args:
        features: the units, a picture for each.

    Raises:
        ValueError: if there are no features, or one is there twice.
    """

    task = "feature_addition"

    def __init__(
        self,
        features: list[int],
        constraint: Constraint | float = 1000.0,
        steps: int = 800,
        step_size: Number = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, **kwargs)
        self.features = distinct(features)

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image = batch["image"]
        representation, region = self.represent(network, image), region_of(batch)
        for unit in self.features:
            representation.check_unit(unit, "features")
            objective = ClippedActivation(representation, unit, region)
            yield Plan(image, objective, self.constraint, variant_of(unit))

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        return activations(plan.objective, painting.start, painting.result)
