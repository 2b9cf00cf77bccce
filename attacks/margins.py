"""Objectives on differences of logits: the DLR losses of Croce & Hein 2020, which no scale of the logits can blunt."""

import math

import torch
from torch import Tensor, nn

from attacks.objectives import Objective, logits_of, valid_mean, valid_pixels

_TINY = 1e-12


def without_true(logits: Tensor, label: Tensor) -> Tensor:
    """The logits with those of the true classes at minus infinity; at void pixels, those of class 0.

    Args:
        logits: `(B, C)` or `(B, C, H, W)`.
        label: int64, `(B,)` or `(B, H, W)` with void pixels 255.
    """
    return logits.scatter(1, label.where(valid_pixels(label), 0).unsqueeze(1), -math.inf)


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """By how much another class's logit exceeds the true one's, each sample's mean over its valid pixels, `(B,)`.

    Args:
        logits: `(B, C)` or `(B, C, H, W)`.
        label: int64, `(B,)` or `(B, H, W)` with void pixels 255.
    """
    true = label.where(valid_pixels(label), 0).unsqueeze(1)
    others = without_true(logits, label).amax(1)
    return valid_mean(others - logits.gather(1, true).squeeze(1), label)


class DLR(Objective):
    """The difference of logits ratio, -(z_y - max_{i != y} z_i) / (z_(1) - z_(3)) (eq. 6); needs three classes.

    z_(1) >= z_(2) >= ... are the logits of a pixel, or of the image, in order. Void pixels count nowhere.

    Raises:
        ValueError: when called, if the network has less than three classes.
    """

    def __init__(self, network: nn.Module, image: Tensor, label: Tensor) -> None:
        self.network, self.label = network, label

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        logits = logits_of(self.network(image))
        if logits.shape[1] < 3:
            raise ValueError(f"the DLR loss needs 3 classes, and the network has {logits.shape[1]}: take CrossEntropy")
        ordered = logits.topk(3, dim=1).values
        label = self.label.where(valid_pixels(self.label), 0).unsqueeze(1)
        true = logits.gather(1, label)
        other = torch.where(ordered[:, :1] == true, ordered[:, 1:2], ordered[:, :1])
        ratio = (other - true) / (ordered[:, :1] - ordered[:, 2:3] + _TINY)
        return valid_mean(ratio.squeeze(1), self.label), logits


class TargetedDLR(Objective):
    """The targeted one, -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2) (eq. 7); needs four classes.

    Args:
        network: from images to logits.
        image: not used; all objectives are made from the same three.
        label: the true classes.
        target: the classes to reach, shaped like `label`.

    Raises:
        ValueError: when called, if the network has less than four classes.
    """

    def __init__(self, network: nn.Module, image: Tensor, label: Tensor, target: Tensor) -> None:
        self.network, self.label, self.target = network, label, target

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        logits = logits_of(self.network(image))
        if logits.shape[1] < 4:
            raise ValueError(
                f"the targeted DLR loss needs 4 classes, and the network has {logits.shape[1]}: in place of AutoAttack "
                "or TargetedAPGD take an Ensemble of APGD, FAB and Square"
            )
        ordered = logits.topk(4, dim=1).values
        label = self.label.where(valid_pixels(self.label), 0).unsqueeze(1)
        gap = logits.gather(1, self.target.unsqueeze(1)) - logits.gather(1, label)
        ratio = gap / (ordered[:, :1] - (ordered[:, 2:3] + ordered[:, 3:4]) / 2 + _TINY)
        return valid_mean(ratio.squeeze(1), self.label), logits
