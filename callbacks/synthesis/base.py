"""What every synthesis task shares: a start image, an objective and a constraint become a picture."""

import math
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from attacks import L2, Box, Constraint, projected_gradient, undisturbed
from attacks.adversary import outside_inference
from attacks.constraints import Number, number
from attacks.objectives import Objective, logits_of, valid_pixels
from attacks.seeds import mix
from attacks.twin import Kind, at_rest
from callbacks.synthesis.callback import PictureCallback, above_0
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.scores import check_judge, common_scores


@dataclass
class Plan:
    """A synthesis: a start image, an objective to lower, a constraint.

    Args:
        start: `(B, 3, H, W)` in `[0, 1]`.
        objective: gives one value per sample, to lower.
        constraint: the set around `start`; the box `[0, 1]` is added to it.
        variant: tells several plans for one batch apart.
        hole: true `(B, 1, H, W)` where the picture is made up.
        wanted: the labels that the network is to see in the result, `(B,)` or `(B, H, W)`.
        beside: other pictures of a sample that belong to its painting, `(B, 3, h, w)` each, by name.
    """

    start: Tensor
    objective: Objective
    constraint: Constraint
    variant: str = ""
    hole: Tensor | None = None
    wanted: Tensor | None = None
    beside: dict[str, Tensor] = field(default_factory=dict)


Plans = Generator[Plan, Tensor, None]
"""Plans one after the other; `yield` gives back what became of one, so that the next may begin there."""


class Synthesis(PictureCallback):
    """Paints with the network's gradients, on a fixed handful of validation samples after every evaluation.

    A task says its plans; the loop is that of the attacks, downhill.

    Args:
        constraint: how far the picture may move from its start: a set, or the eps of an `L2`.
        steps: number of gradient steps.
        step_size: length of a step in pixel units.
        samples: how many validation samples, spread evenly over the set, or their indices.
        every_n_epochs: paint after the evaluation of every n-th epoch; the last one is always painted.
        frames: how many pictures of the way there are kept, for a strip and an animation; none by default.
        judge: a second network, which did not paint, from images to logits: it scores what it sees in the pictures.
        twin: what paints in the network's place, as its weights rest meanwhile: `exact`, the same values but for
            rounding, in less time; `bf16`, in bfloat16, on processors that have it; `off`, the network itself.

    Raises:
        ValueError: if a number is not above 0, or the list of samples is empty, has a negative one or one twice.
    """

    def __init__(
        self,
        constraint: Constraint | float,
        steps: int,
        step_size: Number,
        samples: int | list[int] = 8,
        every_n_epochs: int = 1,
        frames: int = 0,
        judge: nn.Module | None = None,
        twin: Kind = "exact",
    ) -> None:
        super().__init__(samples, every_n_epochs)
        self.constraint = constraint if isinstance(constraint, Constraint) else L2(constraint)
        self.steps = above_0(steps, "steps")
        self.step_size = above_0(number(step_size, "step_size"), "step_size")
        if not 0 <= frames <= steps:
            raise ValueError(f"frames={frames}: between 0 and the number of steps, {steps}")
        self.frames, self.judge, self.twin = frames, judge, twin

    @abstractmethod
    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        """Say what to paint; one plan, or several variants.

        Args:
            network: in eval mode, from images to logits.
            batch: see `synthesize`.
            seed: int64 `(B,)`, for what is random.
        """

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        """What the task measures besides `common_scores`, `(B,)` each; nothing by default."""
        return {}

    def synthesize(self, network: nn.Module, batch: dict[str, Any]) -> list[Painting]:
        """Paint a batch; needs no Trainer. The network is left as it was found.

        Args:
            network: from images in `[0, 1]` to logits.
            batch: `image` float32 `(B, 3, H, W)` in `[0, 1]`. What else there is: `label` int64, else the network's
                prediction takes its place; `index` int64 `(B,)`, which seeds what is random; `mask` bool
                `(B, 1, H, W)`, where to paint; `other` `(B, 3, H, W)`, a second image for each.

        Raises:
            ValueError: if a setting does not fit the network or the batch.
        """
        with at_rest(network, batch["image"], self.twin) as twin:
            batch, seed = prepared(batch)
            return [self._paint(network, batch, plan, done) for plan, done in _run(self.plans(twin, batch, seed))]

    def check(self, network: nn.Module, batch: dict[str, Any]) -> None:
        """Make the plans of a batch, and look at each once; raises ValueError where that cannot be painted."""
        with undisturbed(network):
            batch, seed = prepared(batch)
            self.ticks = 0
            for plan, done in _run(self.plans(network, batch, seed)):
                logits = logits_of(network(plan.start))
                if plan.wanted is not None:
                    check_wanted(plan.wanted, logits)
                if plan.hole is not None and not plan.hole.flatten(1).any(1).all():
                    raise ValueError("a mask has no pixel inside; paint white where the picture is to be made up")
                if self.judge is not None:
                    check_judge(self.judge, plan.start, plan.wanted, logits)
                plan.objective(plan.start, 0.0)
                self._painting(batch, plan, plan.start, logits.detach())
                done(plan.start)
                self.ticks += self.steps

    def _paint(self, network: nn.Module, batch: dict[str, Any], plan: Plan, done: Callable[[Tensor], None]) -> Painting:
        watched = _Watched(plan.objective, self.tick, self.steps, self.frames)
        constraint = plan.constraint & Box()
        result = projected_gradient(
            watched, constraint, plan.start, steps=self.steps, step_size=self.step_size, descend=True
        )
        with torch.no_grad():
            logits = logits_of(network(result))
        painting = self._painting(batch, plan, result, logits)
        painting.way = [*watched.way, result] if self.frames else []
        done(result)
        return painting

    def _painting(self, batch: dict[str, Any], plan: Plan, result: Tensor, logits: Tensor) -> Painting:
        painting = Painting(plan.variant, batch["image"], plan.start, result, logits, beside=plan.beside)
        painting.hole, painting.wanted = plan.hole, plan.wanted
        painting.scores = common_scores(painting, self.judge) | self.scores(painting, plan)
        return painting


class _Watched(Objective):
    """Tells of each step, and keeps pictures of the way, evenly spread up to the one before the last."""

    def __init__(self, objective: Objective, tick: Callable[[int], None], steps: int, frames: int) -> None:
        self.objective, self.tick, self.step = objective, tick, 0
        self.kept = {round(steps * (i + 1) / frames) for i in range(frames - 1)}
        self.way: list[Tensor] = []

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        if self.step in self.kept:
            self.way.append(image.detach())
        self.step += 1
        self.tick(1)
        return self.objective(image, progress)


def _run(plans: Plans) -> Iterator[tuple[Plan, Callable[[Tensor], None]]]:
    """The plans, and for each what is to be called with what became of it."""
    results: list[Tensor] = []
    try:
        plan = next(plans)
        while True:
            yield plan, results.append
            plan = plans.send(results[-1])
    except StopIteration:
        return


def prepared(batch: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """The batch outside of inference mode, and its seeds."""
    batch = {key: outside_inference(value) if torch.is_tensor(value) else value for key, value in batch.items()}
    return batch, mix(batch["index"] if "index" in batch else torch.arange(len(batch["image"])))


def check_wanted(wanted: Tensor, logits: Tensor) -> None:
    """Raises ValueError if the labels that are wanted are none of those that the network tells apart."""
    highest = int(torch.where(valid_pixels(wanted), wanted, 0).max())
    if highest >= logits.shape[1]:
        raise ValueError(f"class {highest} is wanted, and the network tells {logits.shape[1]} classes apart, from 0")
    if wanted.ndim + 1 != logits.ndim:
        kinds = {1: "one class for each image", 3: "a class for each pixel"}
        raise ValueError(f"the labels are {kinds[wanted.ndim]}, and the network gives {kinds[logits.ndim - 1]}")


def labels_of(network: nn.Module, batch: dict[str, Any], image: Tensor | None = None) -> Tensor:
    """The labels of a batch, or where it has none, the network's predictions for it (or for another image)."""
    if "label" in batch:
        return batch["label"]
    with torch.no_grad():
        return logits_of(network(batch["image"] if image is None else image)).argmax(1)


def channel_mean(image: Tensor) -> Tensor:
    """Each image filled with its own mean per channel."""
    return image.mean((2, 3), keepdim=True).expand_as(image)


def at_least_0(value: float, name: str) -> float:
    """Raises ValueError if a number is negative, infinite or none."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}={value}: a number, 0 or more")
    return value
