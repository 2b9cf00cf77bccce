"""The L-BFGS attack (Szegedy et al. 2014): the smallest perturbation that changes what the network sees."""

import math
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor, nn

from attacks.adversary import Adversary
from attacks.constraints import per_sample
from attacks.margins import without_true
from attacks.objectives import cross_entropy, logits_of, valid_mean, valid_pixels

_ARMIJO, _HALVINGS = 1e-4, 20


class LBFGS(Adversary):
    """The L-BFGS attack (Szegedy et al. 2014): the smallest perturbation, in L2, that reaches another class.

    Minimises c * ||r||^2 + cross-entropy(x + r, target) for x + r in [0, 1] (sec. 4.1 of the paper, with |r| squared,
    so that it is smooth: for a convex loss the minimisers are the same). Here c weighs the norm, as in the paper's
    formula, so the smallest perturbation comes from the *largest* c whose minimiser succeeds; c is found by bisection
    of its logarithm. Each sample keeps its smallest successful image, or is returned as it came if there is none.

    Args:
        steps: most iterations of L-BFGS for each c; each costs a forward and a backward, and more where it backtracks.
        searches: number of c tried for each sample.
        c: the first c tried; it is multiplied or divided by 10 until one succeeds and one does not.
        memory: number of pairs that L-BFGS approximates the curvature with.
        share: of a label map, the share of valid pixels that must be won.
        targeted: the labels are targets, to be reached. Otherwise they are true: the attack aims at the most likely
            other class, of each pixel its own, and wins where the prediction is any other.
        target_class: aim at this class, whatever the labels are; implies `targeted`.

    Raises:
        ValueError: on steps, searches or memory below 1, a c that is not above 0, or a share outside (0, 1].
    """

    def __init__(
        self,
        steps: int = 30,
        searches: int = 10,
        c: float = 1.0,
        memory: int = 10,
        share: float = 0.9,
        targeted: bool = False,
        target_class: int | None = None,
    ) -> None:
        if min(steps, searches, memory) < 1:
            raise ValueError(f"LBFGS: steps={steps}, searches={searches} and memory={memory} must be 1 or more")
        if not 0 < c < math.inf or not 0 < share <= 1:
            raise ValueError(f"LBFGS: c={c} must be above 0, and share={share} above 0 and at most 1")
        self.steps, self.searches, self.c, self.memory, self.share = steps, searches, c, memory, share
        self.targeted, self.target_class = targeted, target_class

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        aimed = self.targeted or self.target_class is not None
        if self.target_class is not None:
            label = label.where(~valid_pixels(label), self.target_class)
        with torch.no_grad():
            logits = logits_of(network(image))
        target = label if aimed else without_true(logits, label).argmax(1).where(valid_pixels(label), label)

        def won(logits: Tensor, index: Tensor) -> Tensor:
            prediction = logits.detach().argmax(1)
            hit = prediction == target[index] if aimed else prediction != label[index]
            return valid_mean(hit.to(logits.dtype), label[index]) >= self.share

        index = torch.arange(len(image), device=image.device)
        index = index[~won(logits, index) & valid_pixels(label).view(*label.shape, 1).flatten(1).any(1)]
        result = image.clone()
        if len(index):
            part = None if region is None else region[index]
            result[index] = self._search(network, image[index], target[index], lambda z, i: won(z, index[i]), part)
        return result

    def _search(
        self,
        network: nn.Module,
        image: Tensor,
        target: Tensor,
        won: Callable[[Tensor, Tensor], Tensor],
        region: Tensor | None,
    ) -> Tensor:
        """The smallest perturbed images `won` was seen to be true of; bisects c, for each sample its own."""
        best, smallest = image.clone(), torch.full_like(image.flatten(1)[:, 0], math.inf)
        lower, upper = torch.zeros_like(image), torch.ones_like(image)
        if region is not None:
            lower, upper = lower.where(region, image), upper.where(region, image)
        c = torch.full_like(smallest, self.c)
        largest_won, smallest_lost = torch.zeros_like(c), torch.full_like(c, math.inf)
        wins = torch.zeros_like(c, dtype=torch.bool)

        def function(point: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
            point = point.detach().requires_grad_()
            logits = logits_of(network(point))
            square = (point - image[index]).square().flatten(1).sum(1)
            value = cross_entropy(logits, target[index]) + c[index] * square
            (gradient,) = torch.autograd.grad(value.sum(), point)
            wins[index] = won(logits, index)
            better = wins[index] & (square.detach() < smallest[index])
            best[index[better]], smallest[index[better]] = point.detach()[better], square.detach()[better]
            return value.detach(), gradient

        for _ in range(self.searches):
            minimum = minimise(function, image, lower, upper, self.steps, self.memory)
            function(minimum, torch.arange(len(c), device=c.device))  # for `wins` of the minimisers themselves
            largest_won = c.where(wins & (c > largest_won), largest_won)
            smallest_lost = c.where(~wins & (c < smallest_lost), smallest_lost)
            between = (largest_won * smallest_lost).sqrt()
            c = torch.where(largest_won == 0, c / 10, torch.where(smallest_lost.isinf(), c * 10, between))
        return best


def minimise(
    function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    start: Tensor,
    lower: Tensor,
    upper: Tensor,
    steps: int,
    memory: int = 10,
) -> Tensor:
    """Minimise each sample's value within bounds, by L-BFGS with two-metric projection (Bertsekas 1982).

    Pixels at a bound whose gradient points outwards are left out of a step, and of the curvature it is made with; the
    rest follow the quasi-Newton direction, and what leaves the bounds is projected. Unlike `torch.optim.LBFGS` it knows
    bounds and couples no samples; unlike a change of variables by tanh it moves pixels that start at a bound.

    Args:
        function: gives values `(b,)` and gradients of images `(b, C, H, W)`, which are of the samples `index`, `(b,)`:
            those that have found their next step, or have none, are not asked for.
        start: where to begin, within the bounds.
        lower: lower bounds, shaped like `start`.
        upper: upper bounds; where equal to `lower`, nothing moves.
        steps: most iterations; a sample that finds no lower value stops before.
        memory: number of pairs of steps and differences of gradients kept.
    """
    image = start.clone()
    value, gradient = function(image, torch.arange(len(image), device=image.device))
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=memory)
    moves = torch.ones_like(value, dtype=torch.bool)
    for _ in range(steps):
        fixed = ((image <= lower) & (gradient >= 0)) | ((image >= upper) & (gradient <= 0))
        direction = _quasi_newton(gradient, ~fixed, pairs)
        # Less than rounding is no progress: such a sample has arrived.
        moves &= _dot(gradient, direction) < -torch.finfo(value.dtype).eps * value.abs()
        before, old_gradient = image.clone(), gradient.clone()
        open_, length = moves.nonzero().flatten(), 1.0
        for _ in range(_HALVINGS):
            if not len(open_):
                break
            trial = (before[open_] + length * direction[open_]).clamp(lower[open_], upper[open_])
            trial_value, trial_gradient = function(trial, open_)
            fall = _dot(old_gradient[open_], trial - before[open_])
            falls = (fall < 0) & (trial_value <= value[open_] + _ARMIJO * fall)
            done = open_[falls]
            image[done], gradient[done], value[done] = trial[falls], trial_gradient[falls], trial_value[falls]
            open_ = open_[~falls]
            length /= 2
        moves[open_] = False
        if not moves.any():
            break
        pairs.append((image - before, gradient - old_gradient))
    return image


def _quasi_newton(gradient: Tensor, free: Tensor, pairs: deque[tuple[Tensor, Tensor]]) -> Tensor:
    """Downhill in the free pixels: the two-loop recursion (Nocedal & Wright, algorithm 7.4) on those alone."""
    direction = -gradient.where(free, 0)
    scale = 1 / _dot(direction, direction).sqrt().clamp(min=torch.finfo(gradient.dtype).tiny)  # a first step of norm 1
    history = []
    for step, change in pairs:
        step, change = step.where(free, 0), change.where(free, 0)
        curvature, square = _dot(step, change), _dot(change, change)
        usable = curvature > torch.finfo(gradient.dtype).eps * square  # 0 for samples that did not move
        scale = torch.where(usable, curvature / square, scale)
        history.append((step, change, torch.where(usable, 1 / curvature, 0)))
    weights = []
    for step, change, inverse in reversed(history):
        weights.append(inverse * _dot(step, direction))
        direction = direction - per_sample(weights[-1], direction) * change
    direction = direction * per_sample(scale, direction)
    for (step, change, inverse), weight in zip(history, reversed(weights), strict=True):
        direction = direction + per_sample(weight - inverse * _dot(change, direction), direction) * step
    return direction


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
