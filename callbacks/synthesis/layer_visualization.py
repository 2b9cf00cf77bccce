"""Layer visualization: what the filters of any layer respond to."""

from typing import Any

from torch import Tensor, nn

from attacks.constraints import Constraint, Number
from callbacks.synthesis.base import Plan, Plans, Synthesis
from callbacks.synthesis.callback import above_0, spread
from callbacks.synthesis.feature_visualization import distinct
from callbacks.synthesis.layer_output import LayerOutput
from callbacks.synthesis.objectives import Activation, activations
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.starts import Start, check_start, without_image


class LayerVisualization(Synthesis):
    """Paints what raises a filter of a layer: the sum of its activations (Itazuri et al. 2019, eq. 10).

    Gradient ascent alone, without any prior (Erhan et al. 2009). The paper does not say its steps: the defaults are
    ours, those of `FeatureVisualization`. A filter that is 0 everywhere in the start, as behind a ReLU, has no
    gradient, and its picture stays the start: name the convolution or the batch norm before.

    Scores the sum in the result, `activation`, and in the start, `activation_start`.

    Args:
        layer: the layer whose output is meant, by its name in the network, such as `model.layer3.0`.
        constraint: how far the picture may move from its start: a set, or the eps of an `L2`.
        steps: number of gradient steps.
        step_size: length of a step in pixel units.
        filters: the filters, a picture for each; or how many, spread evenly over the layer.
        start: `noise`, `grey`, or the `image` itself. Only of the last does the picture depend on the image, so that
            more `samples` than one are of use.
        samples: how many validation samples, spread evenly over the set, or their indices.

    Raises:
        ValueError: on a setting out of its range.
    """

    task = "layer_visualization"

    def __init__(
        self,
        layer: str,
        constraint: Constraint | float = 1000.0,
        steps: int = 200,
        step_size: Number = 1.0,
        filters: int | list[int] = 8,
        start: Start = "noise",
        samples: int | list[int] = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, samples=samples, **kwargs)
        if isinstance(filters, list):
            distinct(filters, "filters", "filters of the layer")
        self.filters = filters if isinstance(filters, list) else above_0(filters, "filters")
        self.layer, self.start = layer, check_start(start)

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image = batch["image"]
        output = LayerOutput(network, image, self.layer)
        start = image if self.start == "image" else without_image(self.start, image, seed)
        for number in self._numbers(output):
            yield Plan(start, Activation(output, number), self.constraint, f"filter_{number:04d}")

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        return activations(plan.objective, painting.start, painting.result)

    def _numbers(self, output: LayerOutput) -> list[int]:
        if isinstance(self.filters, int):
            return spread(self.filters, output.units)
        for number in self.filters:
            output.check_unit(number, "filters")
        return self.filters
