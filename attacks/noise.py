"""Random noise, the baseline of attacks."""

from torch import Tensor, nn

from attacks.adversary import Adversary
from attacks.constraints import Box, Constraint, Number, Region, number
from attacks.seeds import normal


class GaussianNoise(Adversary):
    """Adds Gaussian noise: the N-eps baseline of Aggarwal et al. 2020.

    Args:
        std: standard deviation in pixel units, `0.03` or `8/255`.
    """

    def __init__(self, std: Number) -> None:
        self.std = number(std, "GaussianNoise std")
        if not 0 <= self.std <= 1:
            raise ValueError(f"GaussianNoise(std={std}): std is in pixel units between 0 and 1; write {self.std:g}/255")

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        constraint: Constraint = Box() if region is None else Box() & Region(region)
        return constraint.project(image + self.std * normal(image, seed), image)
