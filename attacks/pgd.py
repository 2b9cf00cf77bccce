"""PGD and its thin cases FGSM and I-FGSM."""

import math

import torch
from torch import Tensor, nn

from attacks.adversary import Adversary
from attacks.constraints import Ball, Box, Constraint, Linf, Number, Region, number
from attacks.loop import Best, projected_gradient
from attacks.objectives import CrossEntropy, ObjectiveFactory, valid_pixels
from attacks.seeds import mix


class PGD(Adversary):
    """Projected gradient descent (Madry et al. 2018): `steps` ascent steps on the loss from a random start.

    Args:
        constraint: the set around the image, `Linf(eps)` or `L2(eps)`.
        steps: number of gradient steps, 1 or more.
        step_size: length of a step in pixel units, `0.01` or `2/255`; by default 2.5 * eps / steps.
        random_start: start at a random point of the set, not at the image.
        restarts: independent runs, of which each sample keeps its best image; more than 1 implies `use_best`.
        use_best: keep each sample's image of highest loss among all iterates, not the last; one more forward.
        targeted: the labels are targets: lower their loss instead of raising it.
        target_class: aim every valid pixel at this class, whatever the labels are; implies `targeted`.
        momentum: decay of the accumulated gradient (MI-FGSM, Dong et al. 2018).
        objective: what to raise, made from (network, image, label).

    Raises:
        ValueError: on steps or restarts below 1, restarts of one start, or a step_size, momentum or
            target_class that is negative or no number.
    """

    def __init__(
        self,
        constraint: Constraint,
        steps: int = 10,
        step_size: Number | None = None,
        random_start: bool = True,
        restarts: int = 1,
        use_best: bool = False,
        targeted: bool = False,
        target_class: int | None = None,
        momentum: float = 0.0,
        objective: ObjectiveFactory = CrossEntropy,
    ) -> None:
        if steps < 1 or restarts < 1:
            raise ValueError(f"{type(self).__name__}: steps={steps} and restarts={restarts} must be 1 or more")
        if restarts > 1 and not random_start:
            raise ValueError(f"{type(self).__name__}: restarts={restarts} would all be the same; set random_start")
        if not 0 <= momentum < math.inf or (target_class or 0) < 0:
            raise ValueError(
                f"{type(self).__name__}: momentum={momentum} and target_class={target_class} must be 0 or more"
            )
        self.constraint = constraint
        self.steps = steps
        if step_size is not None:
            self.step_size = number(step_size, "step_size")
        elif isinstance(constraint, Ball):
            self.step_size = 2.5 * constraint.eps / steps
        else:
            raise ValueError(f"{type(self).__name__}: step_size has a default for Linf and L2 only; give it")
        if self.step_size < 0:
            raise ValueError(f"{type(self).__name__}: step_size={step_size} must be 0 or more")
        if self.step_size > 1 and step_size is not None and isinstance(constraint, Linf):
            raise ValueError(
                f"{type(self).__name__}: step_size={step_size} is in pixel units; write {self.step_size:g}/255"
            )
        self.random_start = random_start
        self.restarts = restarts
        self.use_best = use_best
        self.targeted = targeted
        self.target_class = target_class
        self.momentum = momentum
        self.objective = objective

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        if self.target_class is not None:
            label = torch.where(valid_pixels(label), self.target_class, label)
        constraint = self.constraint & Box()
        if region is not None:
            constraint = constraint & Region(region)
        objective = self.objective(network, image, label)
        best = Best() if self.use_best or self.restarts > 1 else None
        result = image
        for restart in range(self.restarts):
            result = projected_gradient(
                objective,
                constraint,
                image,
                steps=self.steps,
                step_size=self.step_size,
                start=constraint.random_start(image, mix(seed, restart)) if self.random_start else None,
                descend=self.targeted or self.target_class is not None,
                momentum=self.momentum,
                best=best,
            )
        return result if best is None or best.image is None else best.image


class IFGSM(PGD):
    """I-FGSM, or BIM (Kurakin et al. 2017): PGD that starts at the image.

    Args:
        constraint: the set around the image, `Linf(eps)` or `L2(eps)`.
        steps: number of gradient steps.
        step_size: length of a step in pixel units; by default eps / steps.
        targeted: the labels are targets: lower their loss instead of raising it.
        target_class: aim every valid pixel at this class; implies `targeted`.
    """

    def __init__(
        self,
        constraint: Ball,
        steps: int = 10,
        step_size: Number | None = None,
        targeted: bool = False,
        target_class: int | None = None,
    ) -> None:
        if step_size is None:
            step_size = constraint.eps / max(steps, 1)
        super().__init__(constraint, steps, step_size, random_start=False, targeted=targeted, target_class=target_class)


class FGSM(IFGSM):
    """The fast gradient sign method (Goodfellow et al. 2015): one step of length eps from the image.

    Args:
        constraint: the set around the image; with `L2` the step follows the normalised gradient.
        targeted: the labels are targets: lower their loss instead of raising it.
        target_class: aim every valid pixel at this class; implies `targeted`.
    """

    def __init__(self, constraint: Ball, targeted: bool = False, target_class: int | None = None) -> None:
        super().__init__(constraint, steps=1, targeted=targeted, target_class=target_class)
