"""Interpolation between two images by way of their representations."""

from typing import Any

import torch
from torch import Tensor, nn

from attacks.constraints import Constraint, Number
from callbacks.synthesis.base import Plan, Plans
from callbacks.synthesis.inversion import distances, other_of
from callbacks.synthesis.objectives import MatchRepresentation
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.representation import region_of
from callbacks.synthesis.representation_task import RepresentationTask


class Interpolation(RepresentationTask):
    """Paints images whose representations lie on the line between those of two images.

    Engstrom et al. 2019, eq. 6: for each l from 0 to 1 minimises ||R(x') - R*||_2 / ||R*||_2, where
    R* = (1 - l) R(x0) + l R(x1), from the start (1 - l) x0 + l x1, as in the authors' code; its ends are the images.
    Of a segmentation network's dense representation all pixels count, or those of the batch's `mask`.

    A picture for each l; beside the first, `strip`: above the starts, which fade one image into the other, below the
    results. Scores `distance`, the objective, of the result, and of the start, `distance_start`; with a judge,
    `judge_distance` is the same in its representation.

    Args:
        points: how many values of l, evenly from 0 to 1; 2 or more.

    Raises:
        ValueError: if there are fewer than 2 points.
    """

    task = "interpolation"
    pairs = True

    def __init__(
        self,
        constraint: Constraint | float = 1000.0,
        steps: int = 10_000,
        step_size: Number = 1.0,
        points: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, **kwargs)
        if points < 2:
            raise ValueError(f"points={points}: 2 or more, the two images included")
        self.points = points
        self._wanted: list[tuple[float, Tensor]] = []

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        first, second = batch["image"], other_of(batch)
        representation, region = self.represent(network, first), region_of(batch)
        with torch.no_grad():
            begin, end = representation(first)[0], representation(second)[0]
        digits = max(2, len(str(self.points)))
        for point in range(self.points):
            share = point / (self.points - 1)
            start = torch.lerp(first, second, share)
            objective = MatchRepresentation(representation, torch.lerp(begin, end, share), region)
            self._wanted = [(1 - share, first), (share, second)]
            yield Plan(start, objective, self.constraint, f"at_{share:.{digits}f}")

    def synthesize(self, network: nn.Module, batch: dict[str, Any]) -> list[Painting]:
        paintings = super().synthesize(network, batch)
        rows = [[painting.start for painting in paintings], [painting.result for painting in paintings]]
        paintings[0].beside["strip"] = torch.cat([torch.cat(row, 3) for row in rows], 2)
        return paintings

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        return distances(painting, plan, self.judge, self._wanted)
