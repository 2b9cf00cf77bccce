"""FAB (Croce & Hein 2020): the smallest perturbation, in steps to where the network would turn if it were linear."""

import math

import torch
from torch import Tensor, nn

from attacks.adversary import Adversary
from attacks.constraints import L2, Ball, per_sample
from attacks.margins import without_true
from attacks.objectives import logits_of


class FAB(Adversary):
    """FAB-T (Croce & Hein 2020, algorithm 1), towards each of the classes that are most likely besides the true one.

    It minimises the norm of the perturbation, so it needs no radius to search and no step size: each step goes to the
    linearised boundary of two classes, from the image and, a little, from the original. It stops inside the ball of
    `constraint`; what ends outside counts as failed, and the clean image is returned. For image-level labels.

    Args:
        constraint: the set around the image, `Linf(eps)` or `L2(eps)`: its norm is minimised.
        steps: for each target; each costs two forwards and a backward.
        targets: number of classes to aim at; at most all others.
        alpha_max: the largest weight of the step from the original image.
        eta: by how much a step overshoots the boundary, 1 or more.
        beta: where a step begins after a success: this share of the way from the original image.

    Raises:
        ValueError: on steps or targets below 1, or a factor outside of its range.
    """

    def __init__(
        self,
        constraint: Ball,
        steps: int = 100,
        targets: int = 9,
        alpha_max: float = 0.1,
        eta: float = 1.05,
        beta: float = 0.9,
    ) -> None:
        if steps < 1 or targets < 1:
            raise ValueError(f"FAB: steps={steps} and targets={targets} must be 1 or more")
        if not 0 <= alpha_max <= 1 or not 0 < beta < 1 or eta < 1:
            raise ValueError(
                f"FAB: alpha_max={alpha_max} must be in [0, 1], eta={eta} 1 or more, and beta={beta} between 0 and 1"
            )
        self.constraint, self.steps, self.targets = constraint, steps, targets
        self.alpha_max, self.eta, self.beta = alpha_max, eta, beta

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        if label.ndim > 1:
            raise ValueError(f"FAB is for image-level labels (B,), not for label maps {tuple(label.shape)}: take SEA")
        with torch.no_grad():
            logits = logits_of(network(image))
        likely = without_true(logits, label).argsort(1, descending=True)
        result, open_ = image.clone(), (logits.argmax(1) == label).nonzero().flatten()
        for k in range(min(self.targets, logits.shape[1] - 1)):
            if not len(open_):
                break
            part = None if region is None else region[open_]
            found, broken = self._towards(network, image[open_], label[open_], likely[open_, k], part)
            result[open_[broken]] = found[broken]
            open_ = open_[~broken]
        return result

    def _towards(
        self, network: nn.Module, origin: Tensor, label: Tensor, target: Tensor, region: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The images, and for which of them another class than `label` was reached inside the ball, `(B,)`."""
        image, result = origin.clone(), origin.clone()
        broken = torch.zeros(len(origin), dtype=torch.bool, device=origin.device)
        for _ in range(self.steps):
            rest = (~broken).nonzero().flatten()
            if not len(rest):
                break
            part = None if region is None else region[rest]
            moved = self._step(network, image[rest], origin[rest], label[rest], target[rest], part)
            with torch.no_grad():
                lost = logits_of(network(moved)).argmax(1) != label[rest]
            inside = lost & (self._norm(moved - origin[rest]) <= self.constraint.eps)
            result[rest[inside]], broken[rest[inside]] = moved[inside], True
            back = origin[rest] + self.beta * (moved - origin[rest])
            image[rest] = torch.where(per_sample(lost, moved), back, moved)
        return result, broken

    def _step(
        self,
        network: nn.Module,
        image: Tensor,
        origin: Tensor,
        label: Tensor,
        target: Tensor,
        region: Tensor | None,
    ) -> Tensor:
        image = image.detach().requires_grad_()
        logits = logits_of(network(image))
        gap = (logits.gather(1, target[:, None]) - logits.gather(1, label[:, None])).squeeze(1)
        (normal,) = torch.autograd.grad(gap.sum(), image)
        with torch.no_grad():
            image, gap = image.detach(), gap.detach()
            if region is not None:
                normal = normal.where(region, 0)
            gap_origin = gap + (normal * (origin - image)).flatten(1).sum(1)
            speed = normal.abs() if isinstance(self.constraint, L2) else torch.ones_like(normal)
            step = to_plane(image, normal, gap, speed)
            step_origin = to_plane(origin, normal, gap_origin, speed)
            length, length_origin = self._norm(step), self._norm(step_origin)
            tiny = torch.finfo(image.dtype).tiny
            alpha = (length / (length + length_origin).clamp(min=tiny)).clamp(max=self.alpha_max)
            moved, moved_origin = image + self.eta * step, origin + self.eta * step_origin
            return (moved + per_sample(alpha, image) * (moved_origin - moved)).clamp(0, 1)  # what stands still is exact

    def _norm(self, delta: Tensor) -> Tensor:
        return delta.flatten(1).norm(dim=1, p=2 if isinstance(self.constraint, L2) else math.inf)


def to_plane(point: Tensor, normal: Tensor, gap: Tensor, speed: Tensor) -> Tensor:
    """The smallest step inside of `[0, 1]` to a plane, or to the corner nearest to it if no step gets there.

    All pixels move at once, each until it meets the bound: solved exactly, by sorting when they do (sec. 2.2).

    Args:
        point: `(B, ...)` in `[0, 1]`.
        normal: shaped like `point`; pixels where it is 0 stay.
        gap: `(B,)`, the plane is where `gap + <normal, step>` is 0.
        speed: shaped like `point`, 0 or more: how fast a pixel moves. Where it is 1 the step is the smallest in L-inf,
            where it is `|normal|` in L2.
    """
    shape = point.shape
    point, normal, speed = point.flatten(1), normal.flatten(1), speed.flatten(1)
    tiny = torch.finfo(point.dtype).tiny
    scale = normal.abs().amax(1, keepdim=True).clamp(min=tiny)
    normal, gap, speed = normal / scale, gap[:, None] / scale, speed / speed.amax(1, keepdim=True).clamp(min=tiny)
    normal = normal.where(normal.abs() > 1e-12, 0)
    direction = -gap.sign() * normal.sign()
    room = torch.where(direction > 0, 1 - point, point) * direction.abs()
    moving = (room > 0) & (speed > 0)
    speed = speed.where(moving, 0)
    stops = torch.where(moving, room / speed.where(moving, 1), 0)
    stops, order = stops.sort(1)
    gain = (normal.abs() * room).gather(1, order)
    rate = (normal.abs() * speed).gather(1, order)
    before = gain.cumsum(1) - gain  # what those give that have stopped
    rate = rate.flip(1).cumsum(1).flip(1)  # of those that still move, this one included
    reached = before + rate * stops
    k = (reached < gap.abs()).sum(1, keepdim=True).clamp(max=stops.shape[1] - 1)
    time = (gap.abs() - before.gather(1, k)) / rate.gather(1, k).clamp(min=tiny)
    time = torch.minimum(time, stops.gather(1, k))
    return (direction * torch.minimum(time * speed, room)).view(shape)
