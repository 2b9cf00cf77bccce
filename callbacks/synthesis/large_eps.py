"""Attacks with a large eps as pictures: robust networks let them show another class (Tsipras et al. 2019)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attacks import Constraint
from attacks.constraints import Number
from attacks.objectives import CrossEntropy, valid_pixels
from callbacks.synthesis.base import Plan, Plans, Synthesis
from callbacks.synthesis.objectives import Away


class LargeEps(Synthesis):
    """Shows what an attack makes of an image when its eps is large: away from the true labels, or towards classes.

    The paper's Figure 2 (Aggarwal et al. 2020) takes `Linf(32/255)`, 50 steps of 1.6/255 and no targets.

    Args:
        constraint: how far the picture may move from the image.
        steps: number of gradient steps.
        step_size: length of a step in pixel units.
        targets: classes to aim at, a picture each, all valid pixels at once; by default away from the true labels.
        samples: how many validation samples, spread evenly over the set, or their indices.
        every_n_epochs: paint after the evaluation of every n-th epoch; the last one is always painted.
    """

    task = "large_eps"

    def __init__(
        self,
        constraint: Constraint,
        steps: int = 50,
        step_size: Number = "1.6/255",
        targets: Sequence[int] = (),
        samples: int | list[int] = 8,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(constraint, steps, step_size, samples, every_n_epochs)
        if any(target < 0 for target in targets):
            raise ValueError(f"LargeEps: targets={list(targets)} are classes, 0 or more")
        self.targets = targets

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image, label = batch["image"], batch["label"]
        if not self.targets:
            yield Plan(image, Away(CrossEntropy(network, image, label)), self.constraint)
        for target in self.targets:
            wanted = torch.where(valid_pixels(label), target, label)
            yield Plan(image, CrossEntropy(network, image, wanted), self.constraint, f"class_{target}")
