"""The one loop: move an image along the gradient of an objective and stay inside a set."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from attacks.constraints import Constraint, per_sample
from attacks.objectives import Objective

Update = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Gets the loop from one image to the next, from (image, gradient, value, logits); a new one for every run."""


class Best:
    """Keeps, per sample, the image with the highest value seen."""

    def __init__(self) -> None:
        self.image: Tensor | None = None
        self.value: Tensor | None = None

    def update(self, image: Tensor, value: Tensor, logits: Tensor) -> Tensor:
        """Look at images `(B, C, H, W)`, their values `(B,)` and their logits; returns which are kept, `(B,)`."""
        image, value = image.detach(), value.detach()
        if self.image is None or self.value is None:
            self.image, self.value = image, value
            return torch.ones_like(value, dtype=torch.bool)
        better = value > self.value
        self.image = torch.where(per_sample(better, image), image, self.image)
        self.value = torch.where(better, value, self.value)
        return better


def projected_gradient(
    objective: Objective,
    constraint: Constraint,
    origin: Tensor,
    *,
    steps: int,
    step_size: float = 0.0,
    start: Tensor | None = None,
    descend: bool = False,
    momentum: float = 0.0,
    best: Best | None = None,
    update: Update | None = None,
) -> Tensor:
    """Ascend (or descend) `objective` in `steps` projected steps; returns the last image.

    The caller owns the network's mode: see `attacks.adversary.undisturbed`.

    Args:
        objective: gives a value per sample; the steps are normalised by the constraint, so its scale does not matter.
        constraint: the set around `origin`, which also says what a step is.
        origin: the set's centre, `(B, C, H, W)` in `[0, 1]`.
        steps: number of gradient steps; each costs one forward and one backward to the image.
        step_size: length of a step, in the units of the constraint's norm.
        start: where to begin; the origin if not given.
        descend: lower the objective instead of raising it.
        momentum: decay of the accumulated gradient (Dong et al. 2018, eq. 6); 0 is plain PGD.
        update: takes the steps instead of `step_size` and `momentum`; it also has to stay inside the set.
        best: if given, is shown every image and its (signed) value, start and end included: one more forward.
    """
    sign = -1 if descend else 1
    image = (origin if start is None else start).detach()
    update = update or _Steps(constraint, origin, step_size, momentum)
    for t in range(steps):
        image.requires_grad_()
        value, logits = objective(image, t / steps)
        # A mean over all pixels has gradients too small for float16; a mean over few, scaled up as much, would overflow
        # it. So halfway, and by a power of two, which changes no digit.
        scale = 2.0 ** round(math.log2(logits.shape[2:].numel()) / 2)
        (gradient,) = torch.autograd.grad(sign * scale * value.sum(), image)
        gradient = gradient / scale
        with torch.no_grad():
            image = image.detach()
            if best is not None:
                best.update(image, sign * value, logits)
            image = update(image, gradient, sign * value.detach(), logits.detach())
    if best is not None:
        with torch.no_grad():
            value, logits = objective(image, 1.0)
        best.update(image, sign * value, logits)
    return image


class _Steps:
    """Steps of one size, with or without momentum (Dong et al. 2018, eq. 6)."""

    def __init__(self, constraint: Constraint, origin: Tensor, step_size: float, momentum: float) -> None:
        self.constraint, self.origin, self.step_size, self.momentum = constraint, origin, step_size, momentum
        self.velocity = torch.zeros_like(origin) if momentum else None

    def __call__(self, image: Tensor, gradient: Tensor, value: Tensor, logits: Tensor) -> Tensor:
        if self.velocity is not None:
            norm = gradient.abs().flatten(1).mean(1).clamp(min=torch.finfo(gradient.dtype).tiny)
            gradient = self.velocity = self.momentum * self.velocity + gradient / per_sample(norm, gradient)
        return self.constraint.project(self.constraint.step(image, gradient, self.step_size), self.origin)
