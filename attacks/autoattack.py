"""AutoAttack (Croce & Hein 2020): four attacks with nothing to tune, as robustness is reported by."""

import torch
from torch import Tensor, nn

from attacks.apgd import APGD, TargetedAPGD
from attacks.constraints import Ball
from attacks.ensemble import Ensemble
from attacks.fab import FAB
from attacks.margins import TargetedDLR
from attacks.square import Square


class AutoAttack(Ensemble):
    """AutoAttack (Croce & Hein 2020), standard version: APGD on cross-entropy, targeted APGD, FAB-T and Square.

    In this order, each on what those before it left. For image-level labels of four classes or more. The paper's
    settings are the defaults; with others the number is not AutoAttack's.

    Args:
        constraint: the set around the image, `Linf(eps)` or `L2(eps)`.
        steps: gradient steps of APGD, and of the targeted APGD and FAB for each target.
        queries: forwards of Square.
        targets: classes that the targeted APGD and FAB aim at; at most all others.

    Raises:
        ValueError: when called on label maps, or on a network of less than four classes.
    """

    def __init__(self, constraint: Ball, steps: int = 100, queries: int = 5000, targets: int = 9) -> None:
        self.constraint, self.steps, self.queries, self.targets = constraint, steps, queries, targets
        super().__init__(
            [
                APGD(constraint, steps),
                TargetedAPGD(constraint, steps, targets),
                FAB(constraint, steps, targets),
                Square(constraint, queries),
            ]
        )

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        if label.ndim > 1:
            raise ValueError(
                f"AutoAttack is for image-level labels (B,), not for label maps {tuple(label.shape)}: take SEA"
            )
        with torch.no_grad():  # refuses networks of too few classes before any work
            TargetedDLR(network, image[:1], label[:1], label[:1])(image[:1], 0.0)
        return super().perturb(network, image, label, seed, region)
