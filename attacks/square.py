"""The Square attack (Andriushchenko et al. 2020): random search that asks for logits only, not for gradients."""

import torch
from torch import Tensor, nn

from attacks.adversary import Adversary
from attacks.constraints import Box, Linf, Region, per_sample
from attacks.margins import margin
from attacks.objectives import logits_of
from attacks.seeds import mix, uniform

_SHRINKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the squares' area is halved: the paper's 10, 50, 200, ... of 10,000."""


class Square(Adversary):
    """The Square attack for L-inf (algorithms 1 and 2 of the paper): it needs no gradient, so none can be hidden.

    Starts from vertical stripes, then sets squares of shrinking size to plus or minus eps, each channel by itself, and
    keeps what raises the mean margin by which other classes win. An image-level label that is lost is let be.

    Args:
        constraint: the set around the image.
        queries: number of forwards.
        area: share of the image that the first squares cover.
    """

    def __init__(self, constraint: Linf, queries: int = 5000, area: float = 0.8) -> None:
        if queries < 1 or not 0 < area <= 1:
            raise ValueError(f"Square: queries={queries} must be 1 or more, and area={area} between 0 and 1")
        self.constraint, self.queries, self.area = constraint, queries, area

    @torch.no_grad()
    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        constraint = self.constraint & Box()
        if region is not None:
            constraint = constraint & Region(region)
        eps = self.constraint.eps
        stripes = uniform(image[:, :, :1], seed) < 0.5
        best = constraint.project(image + eps * (1 - 2 * stripes.to(image.dtype)), image)
        value = margin(logits_of(network(best)), label)
        for query in range(1, self.queries):
            open_ = value <= 0 if label.ndim == 1 else torch.ones_like(value, dtype=torch.bool)
            if not open_.any():
                break
            changed = self._with_square(best, image, mix(seed, query), query / self.queries)
            changed = constraint.project(changed, image)
            new = margin(logits_of(network(changed)), label)
            better = open_ & (new > value)
            best = torch.where(per_sample(better, image), changed, best)
            value = torch.where(better, new, value)
        return best

    def _with_square(self, best: Tensor, image: Tensor, seed: Tensor, progress: float) -> Tensor:
        """The image with plus or minus eps in a square; place and signs are a function of each sample's seed."""
        height, width = image.shape[-2:]
        area = self.area / 2 ** sum(progress > share for share in _SHRINKS)
        side = min(max(round((area * height * width) ** 0.5), 1), height, width)
        chance = uniform(image.flatten(1)[:, :1].expand(-1, 2 + image.shape[1]), seed)
        top = (chance[:, 0] * (height - side + 1)).floor().view(-1, 1, 1, 1)
        left = (chance[:, 1] * (width - side + 1)).floor().view(-1, 1, 1, 1)
        rows = torch.arange(height, device=image.device).view(1, 1, -1, 1)
        columns = torch.arange(width, device=image.device).view(1, 1, 1, -1)
        inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        sign = 1 - 2 * (chance[:, 2:, None, None] < 0.5).to(image.dtype)
        return torch.where(inside, image + self.constraint.eps * sign, best)
