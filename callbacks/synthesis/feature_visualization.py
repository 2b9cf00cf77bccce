"""Feature visualization: what a unit of a representation stands for."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks import undisturbed
from attacks.constraints import Constraint, Number
from callbacks.synthesis.base import Plan, Plans
from callbacks.synthesis.callback import above_0, spread
from callbacks.synthesis.objectives import Activation, activations
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.representation import Representation, pooled, region_of
from callbacks.synthesis.representation_task import RepresentationTask
from callbacks.synthesis.starts import Start, check_start, without_image


class FeatureVisualization(RepresentationTask):
    """Paints what raises a unit of the representation (Engstrom et al. 2019, eq. 4): maximises R(x')_i.

    Of a segmentation network's dense representation the mean over its pixels, or over those of the batch's `mask`.
    Beside the picture of a unit are the images of the data set that activate it `most`, and `least`, where one was
    looked at: the validation set, in training (Figure 4 of the paper). The defaults are the paper's.

    Scores the unit in the result, `activation`, and in the start, `activation_start`.

    Args:
        features: the units, a picture for each; or how many, spread evenly over the representation.
        start: `noise`, `grey`, or the `image` itself. Only of the last does the picture depend on the image, so that
            more `samples` than one are of use.
        most: how many images stand beside; none costs no look at the data set.
        among: how many images of the data set are ranked, spread evenly; each costs a forward pass, every time.
        samples: how many validation samples, spread evenly over the set, or their indices.

    Raises:
        ValueError: on a setting out of its range.
    """

    task = "feature_visualization"

    def __init__(
        self,
        constraint: Constraint | float = 1000.0,
        steps: int = 200,
        step_size: Number = 1.0,
        features: int | list[int] = 8,
        start: Start = "noise",
        most: int = 3,
        among: int = 256,
        samples: int | list[int] = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, samples=samples, **kwargs)
        self.features = distinct(features) if isinstance(features, list) else above_0(features, "features")
        self.start = check_start(start)
        if most < 0 or among < 2 * most:
            raise ValueError(f"most={most}: between 0 and half of among={among}")
        self.most, self.among = most, among
        self._beside: dict[int, dict[str, Tensor]] = {}

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image = batch["image"]
        representation, region = self.represent(network, image), region_of(batch)
        start = image if self.start == "image" else without_image(self.start, image, seed)
        for unit in self._units(representation):
            beside = {
                name: strip.to(image).expand(len(image), -1, -1, -1)
                for name, strip in self._beside.get(unit, {}).items()
            }
            objective = Activation(representation, unit, region)
            yield Plan(start, objective, self.constraint, variant_of(unit), beside=beside)

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        return activations(plan.objective, painting.start, painting.result)

    def look_at(self, data: Any, network: nn.Module) -> None:
        """Rank the images of a data set, of samples with an `image` each, to show some beside the pictures."""
        if not self.most:
            return
        with undisturbed(network):
            representation = self.represent(network, _image(data, 0, network))
            units = self._units(representation)
            order = ranking(representation, data, units, self.among).T.tolist()
        self._beside = {
            unit: {"most": _strip(data, places[: self.most]), "least": _strip(data, places[: -self.most - 1 : -1])}
            for unit, places in zip(units, order, strict=True)
        }

    def _units(self, representation: Representation) -> list[int]:
        if isinstance(self.features, int):
            return spread(self.features, representation.units)
        for unit in self.features:
            representation.check_unit(unit, "features")
        return self.features


def ranking(representation: Representation, data: Any, units: list[int], among: int) -> Tensor:
    """The images of a data set, those that activate a unit most first: their indices, int64 `(N, len(units))`.

    One image at a time, of any sizes, and none is kept; of a dense representation its mean counts.

    Args:
        representation: R.
        data: samples with an `image` `(3, H, W)` each.
        units: which units.
        among: N, how many images, spread evenly over the set; fewer, if it has fewer.
    """
    chosen = spread(among, len(data))
    with torch.no_grad():
        values = [pooled(representation(_image(data, index, representation.network))[0])[0, units] for index in chosen]
    return torch.tensor(chosen)[torch.stack(values).cpu().argsort(dim=0, descending=True, stable=True)]


def distinct(units: list[int], setting: str = "features", what: str = "units of the representation") -> list[int]:
    """Raises ValueError if a list of units is empty or has one twice."""
    if not units or len(set(units)) < len(units):
        raise ValueError(f"{setting}={units}: {what}, each once")
    return units


def variant_of(unit: int) -> str:
    """What a unit's picture is called."""
    return f"feature_{unit:04d}"


def _image(data: Any, index: int, network: nn.Module) -> Tensor:
    """An image of a data set, `(1, 3, H, W)`, as the network takes it."""
    return data[index]["image"][None].to(next(network.parameters()))


def _strip(data: Any, indices: list[int]) -> Tensor:
    """Images of a data set side by side, as high as the first one, `(3, h, w)`."""
    images = [data[index]["image"][None].float() for index in indices]
    height = images[0].shape[-2]
    widths = [max(1, round(image.shape[-1] * height / image.shape[-2])) for image in images]
    scaled = [
        F.interpolate(image, (height, width), mode="bilinear", antialias=True)
        for image, width in zip(images, widths, strict=True)
    ]
    return torch.cat(scaled, 3)[0].clamp(0, 1)
