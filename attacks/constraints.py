"""The sets an image may move in: how to stay inside, how to take a step, where to start."""

import math
from abc import ABC, abstractmethod
from decimal import Decimal
from fractions import Fraction

import torch
from torch import Tensor

from attacks.seeds import normal, uniform

Number = float | str
"""A number, or a fraction written the way people say it: `8/255`."""


def number(value: Number, name: str) -> float:
    """Read `0.03`, `"8/255"` or `"1.6/255"`; raises ValueError on anything else, infinity and NaN included."""
    try:
        if isinstance(value, str):
            numerator, _, denominator = (value if "/" in value else f"{value}/1").partition("/")
            value = float(_exact(numerator) / _exact(denominator))
        result = float(value)
    except (ArithmeticError, ValueError, TypeError):
        result = math.nan
    if not math.isfinite(result):
        raise ValueError(f"{name}: {str(value)[:100]!r} is no number; write 0.03 or 8/255")
    return result


def _exact(text: str) -> Fraction:
    """A decimal number without rounding; of one that no float holds, an exponent may have more digits than fit here."""
    value = Decimal(text)
    if len(text) > 100 or abs(value.adjusted()) > 400:
        raise ValueError(f"{text[:100]} is no number of pixels")
    return Fraction(value)


def per_sample(values: Tensor, image: Tensor) -> Tensor:
    """Shape `(B,)` values so that they broadcast over `(B, C, H, W)`."""
    return values.view(-1, *[1] * (image.ndim - 1))


def _unit(direction: Tensor) -> Tensor:
    """Each sample's direction at a norm of 1, however small it was; 0 stays 0."""
    tiny = torch.finfo(direction.dtype).tiny
    direction = direction / per_sample(direction.flatten(1).abs().amax(1).clamp(min=tiny), direction)
    return direction / per_sample(direction.flatten(1).norm(dim=1).clamp(min=tiny), direction)


class Constraint(ABC):
    """A set around an origin. Images are `(B, C, H, W)`; nothing here looks across samples."""

    @abstractmethod
    def project(self, image: Tensor, origin: Tensor) -> Tensor:
        """The point of the set around `origin` nearest to `image`."""

    def step(self, image: Tensor, gradient: Tensor, step_size: float | Tensor) -> Tensor:
        """One ascent step; the plain gradient where the set suggests no other direction."""
        return image + step_size * gradient

    def random_start(self, origin: Tensor, seed: Tensor) -> Tensor:
        """A random point of the set, a function of each sample's `seed` (int64, `(B,)`) alone."""
        return origin

    def __and__(self, other: "Constraint") -> "Constraint":
        """Both at once: steps and starts like the left one, projects left to right."""
        return Intersection(self, other)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"


class Ball(Constraint):
    """A norm ball of radius `eps`."""

    def __init__(self, eps: Number) -> None:
        self.eps = number(eps, f"{type(self).__name__} eps")
        if self.eps < 0:
            raise ValueError(f"{type(self).__name__}(eps={eps}): eps is a radius, 0 or more")


class Linf(Ball):
    """No pixel moves by more than `eps`.

    Steps along the sign of the gradient; starts uniformly in the ball (Madry et al. 2018).

    Args:
        eps: radius in pixel units, between 0 and 1: `0.03` or `8/255`.

    Raises:
        ValueError: if eps is not in `[0, 1]`, as when it is given in 0-255 units.
    """

    def __init__(self, eps: Number) -> None:
        super().__init__(eps)
        if self.eps > 1:
            remedy = f"write {self.eps:g}/255 for {self.eps:g} of 255"
            raise ValueError(f"Linf(eps={eps}): eps is in pixel units between 0 and 1; {remedy}")

    def project(self, image: Tensor, origin: Tensor) -> Tensor:
        return image.clamp(origin - self.eps, origin + self.eps)

    def step(self, image: Tensor, gradient: Tensor, step_size: float | Tensor) -> Tensor:
        return image + step_size * gradient.sign()

    def random_start(self, origin: Tensor, seed: Tensor) -> Tensor:
        return origin + self.eps * (2 * uniform(origin, seed) - 1)


class L2(Ball):
    """The perturbation of each image has a Euclidean norm of at most `eps`.

    Steps along the gradient scaled to norm 1; starts uniformly in the ball, not on its sphere.

    Args:
        eps: radius in pixel units (each pixel in `[0, 1]`), summed over all pixels and channels.
    """

    def project(self, image: Tensor, origin: Tensor) -> Tensor:
        delta = image - origin
        norm = delta.flatten(1).norm(dim=1).clamp(min=torch.finfo(delta.dtype).tiny)
        return origin + delta * per_sample((self.eps / norm).clamp(max=1), image)

    def step(self, image: Tensor, gradient: Tensor, step_size: float | Tensor) -> Tensor:
        return image + step_size * _unit(gradient)

    def random_start(self, origin: Tensor, seed: Tensor) -> Tensor:
        # The radius of a uniform point of a d-ball is distributed as U^(1/d).
        radius = self.eps * uniform(origin.flatten(1)[:, 0], seed, stream=1) ** (1 / origin.shape[1:].numel())
        return origin + _unit(normal(origin, seed)) * per_sample(radius, origin)


class Box(Constraint):
    """Every pixel lies in `[0, 1]`."""

    def project(self, image: Tensor, origin: Tensor) -> Tensor:
        return image.clamp(0, 1)


class Region(Constraint):
    """Only the pixels inside the region move.

    Args:
        region: bool `(B, 1, H, W)`, true where an image may change.
    """

    def __init__(self, region: Tensor) -> None:
        self.region = region

    def project(self, image: Tensor, origin: Tensor) -> Tensor:
        return torch.where(self.region, image, origin)


class Intersection(Constraint):
    """Several sets at once. The ball goes first: clamping to the box or the region only shrinks its norm."""

    def __init__(self, first: Constraint, *others: Constraint) -> None:
        self.first, self.others = first, others

    def project(self, image: Tensor, origin: Tensor) -> Tensor:
        for constraint in (self.first, *self.others):
            image = constraint.project(image, origin)
        return image

    def step(self, image: Tensor, gradient: Tensor, step_size: float | Tensor) -> Tensor:
        return self.first.step(image, gradient, step_size)

    def random_start(self, origin: Tensor, seed: Tensor) -> Tensor:
        return self.project(self.first.random_start(origin, seed), origin)
