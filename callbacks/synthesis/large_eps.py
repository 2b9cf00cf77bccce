"""Attacks with a large eps as pictures: robust networks let them show another class (Tsipras et al. 2019)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attacks import Constraint, Linf
from attacks.constraints import Number
from attacks.objectives import CrossEntropy, valid_pixels
from callbacks.synthesis.base import Plan, Plans, Synthesis, labels_of
from callbacks.synthesis.callback import Class
from callbacks.synthesis.objectives import Away


class LargeEps(Synthesis):
    """Shows what an attack makes of an image when its eps is large: away from the true labels, or towards classes.

    The paper's Figure 2 (Aggarwal et al. 2020) takes `Linf(32/255)`, 50 steps of 1.6/255 and no targets.

    Args:
        constraint: how far the picture may move from the image: a set, or the eps of an `L2`; by default the paper's.
        targets: classes to aim at, by number or name, a picture each, all valid pixels at once; by default away from
            the true labels.
    """

    task = "large_eps"

    def __init__(
        self,
        constraint: Constraint | float | None = None,
        steps: int = 50,
        step_size: Number = "1.6/255",
        targets: Sequence[Class] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(Linf("32/255") if constraint is None else constraint, steps, step_size, **kwargs)
        self.targets = list(targets)

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image, label = batch["image"], labels_of(network, batch)
        if not self.targets:
            yield Plan(image, Away(CrossEntropy(network, image, label)), self.constraint)
        for target in self.targets:
            wanted = torch.where(valid_pixels(label), self.class_index(target, "targets"), label)
            objective = CrossEntropy(network, image, wanted)
            yield Plan(image, objective, self.constraint, f"class_{target}", wanted=wanted)
