"""What a perturbation raises or lowers: void-aware losses, one value per sample."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORE_INDEX = 255
"""The label of void pixels: in no loss, no metric, no attack's success. Image-level labels know no void."""


def logits_of(output: Any) -> Tensor:
    """The main logits of a network's output.

    That is a tensor, `{"out": logits, "aux": logits}` as in torchvision, something with `logits` as in Hugging Face's
    libraries, or a tuple whose first they are; raises ValueError on anything else.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        found = output.get("out", output.get("logits"))
    else:
        found = getattr(output, "logits", output[0] if isinstance(output, Sequence) and output else None)
    if not isinstance(found, Tensor):
        got = (
            f"a dict of {', '.join(map(str, output))}" if isinstance(output, Mapping) else f"a {type(output).__name__}"
        )
        raise ValueError(
            f"a network gives logits, a tensor, and may give them as `out` or `logits` of a dict, not {got}: wrap it"
        )
    return found


def valid_pixels(label: Tensor) -> Tensor:
    """True where `label` counts. Image-level labels `(B,)` always do: 255 is a class of ImageNet."""
    return label != IGNORE_INDEX if label.ndim > 1 else torch.ones_like(label, dtype=torch.bool)


def pixel_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of every pixel, shaped like `label`, 0 at void; `(B,)` for image-level labels."""
    if logits.shape[:1] + logits.shape[2:] != label.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} do not fit labels {tuple(label.shape)}: "
            "a network gives (B, C) for labels (B,), and (B, C, H, W) for label maps (B, H, W)"
        )
    ignore_index = IGNORE_INDEX if label.ndim > 1 else -100
    return F.cross_entropy(logits, label, reduction="none", ignore_index=ignore_index)


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Each sample's mean cross-entropy over its valid pixels, `(B,)`; 0 where all is void.

    Args:
        logits: `(B, C)` or `(B, C, H, W)`.
        label: int64, `(B,)` or `(B, H, W)` with void pixels 255.
    """
    return valid_mean(pixel_cross_entropy(logits, label), label)


def kl_divergence(clean: Tensor, adversarial: Tensor, label: Tensor) -> Tensor:
    """Each sample's mean divergence KL(p || q) over its valid pixels, `(B,)`; 0 where all is void.

    Args:
        clean: the logits of p, `(B, C)` or `(B, C, H, W)`.
        adversarial: the logits of q, of the same shape.
        label: int64, `(B,)` or `(B, H, W)`; only says which pixels are void (255).
    """
    p, q = clean.log_softmax(1), adversarial.log_softmax(1)
    return valid_mean(F.kl_div(q, p, reduction="none", log_target=True).sum(1), label)


def valid_mean(values: Tensor, label: Tensor) -> Tensor:
    """Each sample's mean over its valid pixels, `(B,)`, of values shaped like `label`; 0 where all is void.

    In float32 at least: of many pixels, 16 bits hold neither the sum nor the share that one of them makes.
    """
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if label.ndim == 1:
        return values
    valid = valid_pixels(label)
    return values.where(valid, 0).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)


class Objective(ABC):
    """What a perturbation raises or lowers; any callable of this shape fits in its place.

    Per sample, so that a sample's result never depends on its neighbours.
    """

    @abstractmethod
    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """One value per sample, `(B,)`, and the logits it saw.

        Args:
            image: `(B, 3, H, W)` in `[0, 1]`.
            progress: t/T, from 0 to 1.
        """


ObjectiveFactory = Callable[[nn.Module, Tensor, Tensor], Objective]
"""Makes an objective from (network, image, label)."""


class CrossEntropy(Objective):
    """The objective of FGSM and PGD: each sample's mean cross-entropy over its valid pixels."""

    def __init__(self, network: nn.Module, image: Tensor, label: Tensor) -> None:
        self.network, self.label = network, label

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        logits = logits_of(self.network(image))
        return cross_entropy(logits, self.label), logits


class KLDivergence(Objective):
    """How far the prediction is from that of the clean image: TRADES' objective (Zhang et al. 2019).

    KL(p(x) || p(x')), each sample's mean over its valid pixels; of the labels it takes only which pixels are void. It
    has no gradient at the clean image itself: `PGD` needs its random start.
    """

    def __init__(self, network: nn.Module, image: Tensor, label: Tensor) -> None:
        self.network, self.label = network, label
        with torch.no_grad():
            self.clean = logits_of(network(image))

    def __call__(self, image: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        logits = logits_of(self.network(image))
        return kl_divergence(self.clean, logits, self.label), logits
