"""Attacks and objectives for label maps: they spend their strength on the pixels that are still to be won.

Each works for image-level labels, too: an image is then one pixel.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.constraints import Constraint, Number
from attacks.objectives import Objective, logits_of, pixel_cross_entropy, valid_mean, valid_pixels
from attacks.pgd import PGD

Activation = Literal["softmax", "sigmoid"]


class WeightedCrossEntropy(Objective):
    """Cross-entropy whose pixels are weighted by what the network says of them; the weights have no gradient."""

    def __init__(self, network: nn.Module, image: Tensor, label: Tensor) -> None:
        self.network, self.label = network, label

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        logits = logits_of(self.network(image))
        weight = self.weight(logits.detach(), progress)
        return valid_mean(weight * pixel_cross_entropy(logits, self.label), self.label), logits

    @abstractmethod
    def weight(self, logits: Tensor, progress: float) -> Tensor:
        """The weight of each pixel, shaped like the label; at void pixels anything finite."""

    def true(self, logits: Tensor) -> Tensor:
        """The labels with void ones as class 0, to look up values by."""
        return self.label.where(valid_pixels(self.label), 0)


class SegPGDLoss(WeightedCrossEntropy):
    """SegPGD (Gu et al. 2022, eq. 5): 1 - lambda where the prediction is right, lambda where it is wrong.

    lambda = (t - 1) / 2T grows from 0: first the pixels that are still right, in the end all alike.
    """

    def weight(self, logits: Tensor, progress: float) -> Tensor:
        return torch.where(logits.argmax(1) == self.label, 1 - progress / 2, progress / 2)


class CosPGDLoss(WeightedCrossEntropy):
    """CosPGD (Agnihotri et al. 2024, eq. 5): the cosine between the predicted distribution and the true one.

    Args:
        network: from images to logits.
        image: not used; all objectives are made from the same three.
        label: the label maps.
        activation: what makes the prediction of logits: `softmax` in CosPGD's code, `sigmoid` in that of SEA.
    """

    def __init__(self, network: nn.Module, image: Tensor, label: Tensor, activation: Activation = "softmax") -> None:
        super().__init__(network, image, label)
        self.activation = activation

    def weight(self, logits: Tensor, progress: float) -> Tensor:
        # By logarithms: the sigmoids of a pixel may all underflow.
        log = logits.log_softmax(1) if self.activation == "softmax" else F.logsigmoid(logits)
        true = log.gather(1, self.true(logits).unsqueeze(1)).squeeze(1)
        return (true - (2 * log).logsumexp(1) / 2).exp()


class MaskedCrossEntropy(WeightedCrossEntropy):
    """MCE of SEA (Croce et al. 2024, eq. 6): only the pixels whose prediction is right."""

    def weight(self, logits: Tensor, progress: float) -> Tensor:
        return (logits.argmax(1) == self.label).to(logits.dtype)


class BalancedMaskedCrossEntropy(MaskedCrossEntropy):
    """MCE-Bal of SEA (eq. 7): the same, each class weighted by 1 / its number of pixels in the training set.

    Args:
        network: from images to logits.
        image: not used; all objectives are made from the same three.
        label: the label maps.
        pixels: number of pixels, or share, of each class in the training set; a class without any weighs nothing. The
            `Attack` callback counts them, if they are not given.
    """

    def __init__(self, network: nn.Module, image: Tensor, label: Tensor, pixels: Sequence[float] | None = None) -> None:
        super().__init__(network, image, label)
        if pixels is None:
            raise ValueError("BalancedMaskedCrossEntropy: give pixels, the number of each class's in the training set")
        share = torch.tensor(pixels, dtype=torch.float64, device=label.device)
        self.balance = torch.where(share > 0, share.mean() / share, 0).to(image.dtype)

    def weight(self, logits: Tensor, progress: float) -> Tensor:
        return super().weight(logits, progress) * self.balance[self.true(logits)]


class JensenShannon(Objective):
    """JS of SEA (eq. 8): the Jensen-Shannon divergence between predicted and true distribution of each pixel.

    With p the probability of the true class it is ((1 - p) log 2 + p log(2p / (1 + p)) + log(2 / (1 + p))) / 2. Its
    gradient vanishes where p does: pixels that are won are left alone.
    """

    def __init__(self, network: nn.Module, image: Tensor, label: Tensor) -> None:
        self.network, self.label = network, label

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        logits = logits_of(self.network(image))
        log_p = -pixel_cross_entropy(logits, self.label)
        p = log_p.exp()
        mixed = torch.log1p(p)  # log(1 + p)
        divergence = ((1 - p) * math.log(2) + p * (math.log(2) + log_p - mixed) + math.log(2) - mixed) / 2
        return valid_mean(divergence, self.label), logits


class SegPGD(PGD):
    """SegPGD (Gu et al. 2022): PGD that first attacks the pixels whose prediction is right, then more and more all.

    Args:
        constraint: the set around the image, `Linf(eps)` or `L2(eps)`.
        steps: number of gradient steps, 1 or more.
        step_size: length of a step in pixel units; by default 2.5 * eps / steps.
        random_start: start at a random point of the set, not at the image.
    """

    def __init__(
        self,
        constraint: Constraint,
        steps: int = 10,
        step_size: Number | None = None,
        random_start: bool = True,
    ) -> None:
        super().__init__(constraint, steps, step_size, random_start, objective=SegPGDLoss)


class CosPGD(PGD):
    """CosPGD (Agnihotri et al. 2024): PGD whose pixels count by how close their prediction is to the truth.

    Args:
        constraint: the set around the image, `Linf(eps)` or `L2(eps)`.
        steps: number of gradient steps, 1 or more.
        step_size: length of a step in pixel units; by default 2.5 * eps / steps.
        random_start: start at a random point of the set, not at the image.
        activation: what makes the prediction of logits: `softmax` in CosPGD's code, `sigmoid` in that of SEA.
    """

    def __init__(
        self,
        constraint: Constraint,
        steps: int = 10,
        step_size: Number | None = None,
        random_start: bool = True,
        activation: Activation = "softmax",
    ) -> None:
        if activation not in ("softmax", "sigmoid"):
            raise ValueError(f"CosPGD: activation={activation!r} is neither `softmax` nor `sigmoid`")
        objective = partial(CosPGDLoss, activation=activation)
        super().__init__(constraint, steps, step_size, random_start, objective=objective)
