"""The Square attack (Andriushchenko et al. 2020): random search that asks for logits only, not for gradients."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from attacks.adversary import Adversary
from attacks.constraints import L2, Ball, Box, Constraint, Region, per_sample
from attacks.margins import margin
from attacks.objectives import logits_of
from attacks.seeds import mix, uniform

_SHRINKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the squares' area is halved: the paper's 10, 50, 200, ... of 10,000."""

_BLOCK = 64
"""Queries whose noise is drawn at once: seeding a generator costs more than the numbers."""

_NUMBERS = 5
"""Random numbers that a change may take for a sample, besides one for each channel."""


class Square(Adversary):
    """The Square attack (algorithm 1 of the paper): it needs no gradient, so none can be hidden.

    Changes the image in squares of shrinking size, at random, and keeps what raises the mean margin by which other
    classes win. An image-level label that is lost is let be.

    Args:
        constraint: the set around the image. With `Linf(eps)` each channel of a square is set to plus or minus eps
            (algorithm 2); with `L2(eps)` what one square holds of the norm moves into a bump in another (algorithm 3).
        queries: number of forwards.
        area: share of the image that the first squares cover.

    Raises:
        ValueError: on queries below 1, or an area outside of (0, 1].
    """

    def __init__(self, constraint: Ball, queries: int = 5000, area: float = 0.8) -> None:
        if queries < 1 or not 0 < area <= 1:
            raise ValueError(f"Square: queries={queries} must be 1 or more, and area={area} between 0 and 1")
        self.constraint, self.queries, self.area = constraint, queries, area

    @torch.no_grad()
    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        moves = (_Bumps if isinstance(self.constraint, L2) else _Signs)(self.constraint.eps)
        best = self._within(moves.start(image, seed), image, region)
        value = margin(logits_of(network(best)), label)
        seed = seed.to(image.device)
        for query in range(1, self.queries):
            open_ = (value <= 0 if label.ndim == 1 else torch.ones_like(value, dtype=torch.bool)).nonzero().flatten()
            if not len(open_):
                break
            if query % _BLOCK == 1:
                chance = uniform(image.new_empty(len(image), _BLOCK, _NUMBERS + image.shape[1]), mix(seed, query))
            part = None if region is None else region[open_]
            side = self._side(query / self.queries, *image.shape[-2:])
            changed = moves.change(best[open_], image[open_], side, chance[open_, (query - 1) % _BLOCK])
            changed = self._within(changed, image[open_], part)
            new = margin(logits_of(network(changed)), label[open_])
            better = new > value[open_]
            best[open_] = torch.where(per_sample(better, image), changed, best[open_])
            value[open_] = torch.where(better, new, value[open_])
        return best

    def _within(self, image: Tensor, origin: Tensor, region: Tensor | None) -> Tensor:
        constraint: Constraint = self.constraint & Box()
        return (constraint if region is None else constraint & Region(region)).project(image, origin)

    def _side(self, progress: float, height: int, width: int) -> int:
        area = self.area / 2 ** sum(progress > share for share in _SHRINKS)
        smallest = 3 if isinstance(self.constraint, L2) else 1  # a smaller bump would be no bump
        return min(max(round((area * height * width) ** 0.5), smallest), height, width)


class _Moves(ABC):
    """Where the search starts, and how an image is changed; `chance` is uniform in `[0, 1)`, a row for each sample."""

    def __init__(self, eps: float) -> None:
        self.eps = eps

    @abstractmethod
    def start(self, image: Tensor, seed: Tensor) -> Tensor:
        """The first image to ask for."""

    @abstractmethod
    def change(self, best: Tensor, image: Tensor, side: int, chance: Tensor) -> Tensor:
        """The best image so far, changed in squares of `side` pixels."""


class _Signs(_Moves):
    """For L-inf: vertical stripes, then squares, each channel at plus or minus eps."""

    def start(self, image: Tensor, seed: Tensor) -> Tensor:
        return image + self.eps * _signs(uniform(image[:, :, :1], seed))

    def change(self, best: Tensor, image: Tensor, side: int, chance: Tensor) -> Tensor:
        inside = _square(image, side, chance[:, :2])
        return torch.where(inside, image + self.eps * _signs(chance[:, _NUMBERS:, None, None]), best)


class _Bumps(_Moves):
    """For L2: a grid of bumps, then what two squares hold of the norm, and what is unused, into one of them."""

    def start(self, image: Tensor, seed: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        side = max(min(height, width) // 5, 1)
        tile = bump(side).to(image)
        grid = tile.repeat(height // side, width // side)
        signs = _signs(uniform(image[:, :, : height // side, : width // side], seed))
        signs = signs.repeat_interleave(side, 2).repeat_interleave(side, 3)
        delta = torch.zeros_like(image)
        top, left = (height - len(grid)) // 2, (width - grid.shape[1]) // 2
        delta[:, :, top : top + len(grid), left : left + grid.shape[1]] = grid * signs
        return image + self.eps * delta / per_sample(delta.flatten(1).norm(dim=1), delta)

    def change(self, best: Tensor, image: Tensor, side: int, chance: Tensor) -> Tensor:
        delta, tiny = best - image, torch.finfo(image.dtype).tiny
        here, there = _square(image, side, chance[:, :2]), _square(image, side, chance[:, 2:4])
        unused = (self.eps**2 - delta.flatten(1).square().sum(1)).clamp(min=0).view(-1, 1, 1, 1)
        held = (delta * (here | there)).square().sum((2, 3), keepdim=True)
        tile = bump(side).to(image)
        tile = torch.where(chance[:, 4].view(-1, 1, 1) < 0.5, tile, tile.T)
        placed = torch.zeros_like(delta[:, :1]).masked_scatter(here, tile)
        old = delta * here
        old = old / old.flatten(2).norm(dim=2).clamp(min=tiny)[..., None, None]
        new = placed * _signs(chance[:, _NUMBERS:, None, None]) + old
        new = new / new.flatten(2).norm(dim=2).clamp(min=tiny)[..., None, None]
        new = new * (held + unused / image.shape[1]).sqrt()
        return image + torch.where(here, new, delta.where(~there, 0))


def bump(side: int) -> Tensor:
    """A hill over a valley (eq. 2 and the next of the paper), of norm 1; float64 `(side, side)`."""
    half = side // 2
    tile = torch.cat([_hill(half, side), -_hill(side - half, side)])
    return tile / tile.norm()


def _hill(height: int, width: int) -> Tensor:
    """Sums of 1 / k^2 from each pixel's distance to the centre, counted from 1, up to half of the width plus 1."""
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    distance = torch.maximum(rows[:, None], columns[None, :])
    tails = (1 / torch.arange(1, width // 2 + 2, dtype=torch.float64) ** 2).flip(0).cumsum(0).flip(0)
    return tails[distance]


def _signs(chance: Tensor) -> Tensor:
    return 1 - 2 * (chance < 0.5).to(chance.dtype)


def _square(image: Tensor, side: int, chance: Tensor) -> Tensor:
    """True in one square of each image, `(B, 1, H, W)`; `chance`, `(B, 2)`, says where."""
    height, width = image.shape[-2:]
    top = (chance[:, 0] * (height - side + 1)).floor().view(-1, 1, 1, 1)
    left = (chance[:, 1] * (width - side + 1)).floor().view(-1, 1, 1, 1)
    rows = torch.arange(height, device=image.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=image.device).view(1, 1, 1, -1)
    return (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
