"""Inversion of a representation: what an image must look like for the network to represent it so."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attacks.constraints import Constraint, Number
from callbacks.synthesis.base import Plan, Plans, labels_of
from callbacks.synthesis.callback import Class
from callbacks.synthesis.objectives import MatchRepresentation
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.representation import region_of
from callbacks.synthesis.representation_task import RepresentationTask
from callbacks.synthesis.scores import judge_distances, likeness
from callbacks.synthesis.starts import Start, check_start, without_image


class Inversion(RepresentationTask):
    """Paints an image whose representation is that of the original (Engstrom et al. 2019, eq. 5).

    Minimises ||R(x') - R(x)||_2 / ||R(x)||_2. What a robust network represents alike looks alike; of a standard one,
    the result has the representation and stays noise. The defaults are those of the paper and its code.

    Of a segmentation network's dense representation all pixels count, or those of the batch's `mask`, or those of a
    class.

    Scores `distance`, the objective, of the result, and of the start, `distance_start`; NaN where no pixel counts. With
    a judge, `judge_distance` is the same in its representation. And `likeness` to the original, of the whole image.

    Args:
        start: `noise`, `grey`, or `image`: another of the samples, `other` in a batch.
        inside: the class, by number or name, whose pixels count, by the labels; an image without it stays its start.

    Raises:
        ValueError: on a start that is none.
    """

    task = "inversion"

    def __init__(
        self,
        constraint: Constraint | float = 1000.0,
        steps: int = 10_000,
        step_size: Number = 1.0,
        start: Start = "noise",
        inside: Class | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, **kwargs)
        self.start, self.inside = check_start(start), inside
        self.pairs = start == "image"

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image = batch["image"]
        representation = self.represent(network, image)
        with torch.no_grad():
            target, _ = representation(image)
        objective = MatchRepresentation(representation, target, self._region(network, batch, target))
        start = other_of(batch) if self.pairs else without_image(self.start, image, seed)
        yield Plan(start, objective, self.constraint)

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        wanted = [(1.0, painting.original)]
        return distances(painting, plan, self.judge, wanted) | likeness(painting, self.judge)

    def _region(self, network: nn.Module, batch: dict[str, Any], target: Tensor) -> Tensor | None:
        if self.inside is None:
            return region_of(batch)
        wanted, label = self.class_index(self.inside, "inside"), labels_of(network, batch)
        if label.ndim == 1 or target.ndim == 2:
            raise ValueError(f"inside={self.inside}: the network represents whole images; leave it out")
        return (label == wanted).unsqueeze(1)


def distances(
    painting: Painting, plan: Plan, judge: nn.Module | None, wanted: Sequence[tuple[float, Tensor]]
) -> dict[str, Tensor]:
    """Scores: how far the representations of the result and of the start are from the wanted one; `(B,)` each.

    With a judge in its representation, too; what that makes of `wanted`, see `judge_distances`.
    """
    objective = plan.objective
    assert isinstance(objective, MatchRepresentation)
    own = {"distance": objective.distance(painting.result), "distance_start": objective.distance(painting.start)}
    return own | ({} if judge is None else judge_distances(judge, painting, wanted, objective.region))


def other_of(batch: dict[str, Any]) -> Tensor:
    """The second image for each, `(B, 3, H, W)`; raises ValueError if there is none."""
    if "other" not in batch:
        raise ValueError("a second image for each is needed: `other` of the batch")
    return batch["other"]
