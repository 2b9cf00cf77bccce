"""What a synthesis lowers, besides the attacks' losses: units of a representation, penalties, a region alone."""

import torch
from torch import Tensor

from attacks.objectives import Objective
from callbacks.synthesis.layer_output import LayerOutput
from callbacks.synthesis.representation import Representation, pooled


class Away(Objective):
    """The negative of an objective: to lower it is to raise that."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        value, logits = self.objective(image, progress)
        return -value, logits


class KeepOutside(Objective):
    """Adds `weight * mean((x - x')^2 (1 - m))` to an objective: what changes outside a hole has a price.

    The mean is over all pixels and channels, so that `weight` means the same at any resolution.

    Args:
        objective: of x'.
        start: x, `(B, 3, H, W)`.
        hole: m, bool `(B, 1, H, W)`.
        weight: lambda of Santurkar et al. 2019, eq. 3 and 5.
    """

    def __init__(self, objective: Objective, start: Tensor, hole: Tensor, weight: float) -> None:
        self.objective, self.start, self.outside, self.weight = objective, start, ~hole, weight

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        value, logits = self.objective(image, progress)
        change = ((image - self.start) * self.outside).square().flatten(1).mean(1)
        return value + self.weight * change, logits


class Inside(Objective):
    """An objective of what is in a hole alone: outside, there is no gradient, and a step is spent inside.

    Together with the constraint `Region(hole)` no pixel outside moves at all.
    """

    def __init__(self, objective: Objective, start: Tensor, hole: Tensor) -> None:
        self.objective, self.start, self.hole = objective, start, hole

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        return self.objective(torch.where(self.hole, image, self.start), progress)


class Activation(Objective):
    """The negative of a unit of the representation, times `weight`: lowered, it paints what the unit stands for.

    Engstrom et al. 2019, eq. 4; of a dense representation, the mean over its pixels, or over those of a region.

    Args:
        representation: R, or any layer's filters.
        unit: i, one for all samples, or one for each, int64 `(B,)`.
        region: bool `(B, 1, H, W)`.
        weight: above 0.
    """

    def __init__(
        self,
        representation: Representation | LayerOutput,
        unit: int | Tensor,
        region: Tensor | None = None,
        weight: float = 1.0,
    ) -> None:
        self.representation, self.unit, self.region, self.weight = representation, unit, region, weight

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        units, index, logits = self._look(image)
        return -self.weight * units.gather(1, index).squeeze(1), logits

    def activation(self, image: Tensor) -> Tensor:
        """The unit of each image, `(B,)`."""
        with torch.no_grad():
            units, index, _ = self._look(image)
        return units.gather(1, index).squeeze(1)

    def _look(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All units `(B, K)`, the place of the one in question `(B, 1)`, and the logits."""
        found, logits = self.representation(image)
        units = pooled(found, self.region)
        return units, torch.as_tensor(self.unit, device=units.device).expand(len(units)).unsqueeze(1), logits


class ClippedActivation(Activation):
    """`Activation` until the unit is the highest of its representation, then 0: Engstrom et al. 2019, eq. 7."""

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        units, index, logits = self._look(image)
        unit = units.gather(1, index).squeeze(1)
        others = units.detach().scatter(1, index, -torch.inf)
        return torch.where(unit <= others.amax(1), -self.weight * unit, 0), logits


class MatchRepresentation(Objective):
    """How far a representation is from a wanted one: ||R(x) - R*||_2 / ||R*||_2.

    Engstrom et al. 2019, eq. 5; relative, as in the authors' code, unless R* is 0. Of a dense one all pixels count, or
    those of a region.

    Args:
        representation: R.
        target: R*, `(B, K)` or `(B, K, h, w)`.
        region: bool `(B, 1, H, W)`.
    """

    def __init__(self, representation: Representation, target: Tensor, region: Tensor | None = None) -> None:
        self.representation, self.region = representation, region
        share = torch.ones_like(target[:, :1])
        if region is not None and target.ndim == 4:
            share = torch.nn.functional.interpolate(region.to(target.dtype), target.shape[2:], mode="area")
        self.target, self.share = target.detach(), share.sqrt()
        norm = (self.target * self.share).flatten(1).norm(dim=1)
        self.norm = norm.where(norm > 0, 1)

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        found, logits = self.representation(image)
        return ((found - self.target) * self.share).flatten(1).norm(dim=1) / self.norm, logits

    def distance(self, image: Tensor) -> Tensor:
        """The value of each image, `(B,)`; NaN where the region is empty."""
        with torch.no_grad():
            value, _ = self(image, 1.0)
        return value.where(self.share.flatten(1).any(1), torch.nan)


def activations(objective: Objective, start: Tensor, result: Tensor) -> dict[str, Tensor]:
    """Scores: how active the unit of an `Activation` is in the result, and was in the start; `(B,)` each."""
    while isinstance(objective, KeepOutside | Inside):
        objective = objective.objective
    assert isinstance(objective, Activation)
    return {"activation": objective.activation(result), "activation_start": objective.activation(start)}
