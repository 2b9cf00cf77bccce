"""Auto-PGD (Croce & Hein 2020), which sets its steps by itself, and SEA's three attacks made of it."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from attacks.adversary import Adversary
from attacks.constraints import Ball, Box, Constraint, Region, per_sample
from attacks.loop import Best, projected_gradient
from attacks.margins import TargetedDLR, without_true
from attacks.objectives import CrossEntropy, Objective, ObjectiveFactory, cross_entropy, valid_mean
from attacks.seeds import mix


class MostWrong(Best):
    """Keeps, per sample, the image with the largest share of wrong valid pixels; of equals, that of largest value.

    Of an image-level label the share is 0 or 1.
    """

    def __init__(self, label: Tensor) -> None:
        super().__init__()
        self.label = label
        self.wrong: Tensor | None = None

    def update(self, image: Tensor, value: Tensor, logits: Tensor) -> Tensor:
        wrong = wrong_share(logits, self.label)
        if self.image is None or self.value is None or self.wrong is None:
            self.wrong = wrong
            return super().update(image, value, logits)
        better = (wrong > self.wrong) | ((wrong == self.wrong) & (value > self.value))
        self.image = torch.where(per_sample(better, image), image.detach(), self.image)
        self.value = torch.where(better, value.detach(), self.value)
        self.wrong = torch.where(better, wrong, self.wrong)
        return better


def wrong_share(logits: Tensor, label: Tensor) -> Tensor:
    """Each sample's share of valid pixels whose prediction is wrong, `(B,)`."""
    return valid_mean((logits.detach().argmax(1) != label).float(), label)


def checkpoints(steps: int) -> list[int]:
    """The steps after which Auto-PGD looks at its progress: w_j of the paper (sec. 3.1)."""
    found, p, before = [], 0.22, 0.0
    while p < 1:
        found.append(math.ceil(round(p * steps, 6)))
        p, before = p + max(p - before - 0.03, 0.06), p
    return sorted(set(found))


class AdaptiveSteps:
    """The steps of Auto-PGD (algorithm 1): with momentum, and halved where a sample makes no progress.

    Args:
        constraint: the set around the origin.
        origin: its centre.
        step_size: the first length of a step, twice the radius.
        steps: number of steps of the run.
        progress: what must grow, from logits, `(B,)`; by default the objective itself.
    """

    def __init__(
        self,
        constraint: Constraint,
        origin: Tensor,
        step_size: float,
        steps: int,
        progress: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.constraint, self.origin, self.progress = constraint, origin, progress
        self.step_size = torch.full((len(origin),), step_size, dtype=origin.dtype, device=origin.device)
        self.checkpoints = checkpoints(steps)
        self.t = self.since = 0
        self.last = self.previous = self.at_checkpoint = self.increases = torch.empty(0)
        self.halved = torch.zeros(len(origin), dtype=torch.bool, device=origin.device)

    def __call__(self, image: Tensor, gradient: Tensor, value: Tensor, logits: Tensor) -> Tensor:
        if self.progress is not None:
            value = self.progress(logits)
        if self.t == 0:
            self.best = value, image, gradient
            self.at_checkpoint = value
            self.increases = torch.zeros_like(value)
        else:
            self.increases += value > self.last
            self._remember(value, image, gradient)
        self.last = value
        if self.t in self.checkpoints:
            image, gradient = self._halve(image, gradient)
        moved = self._project(self.constraint.step(image, gradient, per_sample(self.step_size, image)))
        if self.t > 0:
            moved = self._project(image + 0.75 * (moved - image) + 0.25 * (image - self.previous))
        self.previous = image
        self.t += 1
        return moved

    def _remember(self, value: Tensor, image: Tensor, gradient: Tensor) -> None:
        better = value > self.best[0]
        wide = per_sample(better, image)
        self.best = (
            torch.where(better, value, self.best[0]),
            torch.where(wide, image, self.best[1]),
            torch.where(wide, gradient, self.best[2]),
        )

    def _halve(self, image: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Where too few steps went up, or nothing was gained at steps of this length: go on from the best, slower."""
        oscillates = self.increases < 0.75 * (self.t - self.since)
        stands = ~self.halved & (self.best[0] <= self.at_checkpoint)
        self.halved = oscillates | stands
        self.step_size = torch.where(self.halved, self.step_size / 2, self.step_size)
        self.at_checkpoint, self.since = self.best[0], self.t
        self.increases = torch.zeros_like(self.increases)
        wide = per_sample(self.halved, image)
        return torch.where(wide, self.best[1], image), torch.where(wide, self.best[2], gradient)

    def _project(self, image: Tensor) -> Tensor:
        return self.constraint.project(image, self.origin)


class APGD(Adversary):
    """Auto-PGD (Croce & Hein 2020): PGD that needs no step size, and returns the image with the most wrong pixels.

    Args:
        constraint: the set around the image, `Linf(eps)` or `L2(eps)`.
        steps: number of gradient steps; each costs a forward and a backward, and the run one more forward.
        restarts: independent runs, of which each sample keeps its best image.
        objective: what to raise, made from (network, image, label): `CrossEntropy`, `DLR`, ...

    Raises:
        ValueError: on steps or restarts below 1.
    """

    def __init__(
        self, constraint: Ball, steps: int = 100, restarts: int = 1, objective: ObjectiveFactory = CrossEntropy
    ) -> None:
        if steps < 1 or restarts < 1:
            raise ValueError(f"{type(self).__name__}: steps={steps} and restarts={restarts} must be 1 or more")
        self.constraint, self.steps, self.restarts, self.objective = constraint, steps, restarts, objective

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        best = MostWrong(label)
        objective = self.objective(network, image, label)
        for restart in range(self.restarts):
            self.run(objective, image, label, mix(seed, restart), region, best)
        assert best.image is not None
        return best.image

    def run(
        self, objective: Objective, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None, best: Best
    ) -> None:
        """One run from a random start, shown to `best`."""
        constraint = _within(self.constraint, region)
        projected_gradient(
            objective,
            constraint,
            image,
            steps=self.steps,
            start=constraint.random_start(image, seed),
            update=AdaptiveSteps(constraint, image, 2 * self.constraint.eps, self.steps),
            best=best,
        )


class TargetedAPGD(APGD):
    """Auto-PGD on the targeted DLR loss, once for each of the classes that are most likely besides the true one.

    Samples that one target broke are left alone by the next; of label maps the best image of all targets is returned.

    Args:
        constraint: the set around the image, `Linf(eps)` or `L2(eps)`.
        steps: number of gradient steps for each target.
        targets: number of classes to aim at; at most all others.
    """

    def __init__(self, constraint: Ball, steps: int = 100, targets: int = 9) -> None:
        super().__init__(constraint, steps)
        if targets < 1:
            raise ValueError(f"{type(self).__name__}: targets={targets} must be 1 or more")
        self.targets = targets

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        with torch.no_grad():
            logits, _ = CrossEntropy(network, image, label)(image, 0.0)[::-1]
        likely = without_true(logits, label).argsort(1, descending=True)
        result, wrong = image.clone(), wrong_share(logits, label)
        for k in range(min(self.targets, logits.shape[1] - 1)):
            open_ = (wrong < 1).nonzero().flatten()
            if not len(open_):
                break
            part = image[open_], label[open_]
            best = MostWrong(part[1])
            objective = TargetedDLR(network, *part, likely[open_, k])
            self.run(objective, *part, mix(seed[open_.cpu()], k), None if region is None else region[open_], best)
            assert best.image is not None and best.wrong is not None
            better = best.wrong > wrong[open_]
            result[open_[better]], wrong[open_[better]] = best.image[better], best.wrong[better]
        return result


class SEA(Adversary):
    """One of the attacks of SEA (Croce et al. 2024): Auto-PGD that comes from outside the set, for segmentation.

    30 % of the steps at twice the radius, 30 % at one and a half, 40 % at the radius, each from where the best image
    before lies when projected. The objective's gradient is followed, and progress measured by plain cross-entropy. SEA
    is the worst, for each image, of three: `MaskedCrossEntropy`, `BalancedMaskedCrossEntropy` and `JensenShannon`.

    Args:
        constraint: the set around the image, `Linf(eps)` or `L2(eps)`.
        objective: what to raise, made from (network, image, label).
        steps: number of gradient steps; each costs a forward and a backward, and each stage one more forward.
    """

    def __init__(self, constraint: Ball, objective: ObjectiveFactory, steps: int = 300) -> None:
        if steps < 3:
            raise ValueError(f"SEA: steps={steps} must be 3 or more, for three stages")
        self.constraint, self.objective, self.steps = constraint, objective, steps

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        objective = self.objective(network, image, label)
        first = round(0.3 * self.steps)
        start: Tensor | None = None
        for factor, steps in ((2.0, first), (1.5, first), (1.0, self.steps - 2 * first)):
            ball = copy.copy(self.constraint)
            ball.eps *= factor  # beyond 1 the box is the limit
            constraint = _within(ball, region)
            start = constraint.random_start(image, seed) if start is None else constraint.project(start, image)
            best = MostWrong(label)
            update = AdaptiveSteps(constraint, image, 2 * ball.eps, steps, lambda logits: cross_entropy(logits, label))
            projected_gradient(objective, constraint, image, steps=steps, start=start, update=update, best=best)
            start = best.image
        assert start is not None
        return start


def _within(ball: Ball, region: Tensor | None) -> Constraint:
    return ball & Box() if region is None else ball & Box() & Region(region)
