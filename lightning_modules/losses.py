"""What training lowers. A loss sees the network and the batch, so that TRADES is a loss, not a module."""

import math
from abc import ABC, abstractmethod
from typing import Any

from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from attacks.objectives import cross_entropy, kl_divergence, logits_of


class Loss(ABC):
    """`loss(network, batch)` gives one value per sample, `(B,)`; any callable of that shape fits in its place."""

    @abstractmethod
    def __call__(self, network: nn.Module, batch: dict[str, Any]) -> Tensor:
        """Forward what the recipe needs and compare it with `batch["label"]`."""


class CrossEntropyLoss(Loss):
    """Each sample's mean cross-entropy over its valid pixels, plus that of the auxiliary head where there is one.

    Args:
        aux_weight: weight of the auxiliary head's loss (torchvision's reference: 0.5).

    Raises:
        ValueError: on a weight below 0.
    """

    def __init__(self, aux_weight: float = 0.5) -> None:
        if not 0 <= aux_weight < math.inf:
            raise ValueError(f"CrossEntropyLoss: aux_weight={aux_weight} must be 0 or more")
        self.aux_weight = aux_weight

    def __call__(self, network: nn.Module, batch: dict[str, Any]) -> Tensor:
        output = network(batch["image"])
        loss = cross_entropy(logits_of(output), batch["label"])
        if isinstance(output, dict) and output.get("aux") is not None:
            loss = loss + self.aux_weight * cross_entropy(output["aux"], batch["label"])
        return loss


class TRADES(Loss):
    """The clean image's cross-entropy plus `beta` times KL(p(x) || p(x')), x' being attacked (Zhang et al. 2019).

    Both are each sample's mean over its valid pixels. The clean and the attacked images pass through the network one
    after the other, as in the paper's code, so batch norm sees each kind by its own statistics; the gradient goes
    through both. Made for `PGD(objective=KLDivergence)` as the training attack. Samples that the attack's `fraction`
    leaves alone count with little more than their cross-entropy.

    Args:
        beta: weight of the divergence, the paper's 1/lambda.
        aux_weight: weight of the same loss of the auxiliary head, where there is one.

    Raises:
        ValueError: on a weight below 0.
    """

    def __init__(self, beta: float = 6.0, aux_weight: float = 0.5) -> None:
        for name, weight in (("beta", beta), ("aux_weight", aux_weight)):
            if not 0 <= weight < math.inf:
                raise ValueError(f"TRADES: {name}={weight} must be 0 or more")
        self.beta = beta
        self.aux_weight = aux_weight

    def __call__(self, network: nn.Module, batch: dict[str, Any]) -> Tensor:
        if "clean" not in batch:
            raise MisconfigurationException(
                "the loss TRADES compares clean with attacked images, and attack.train is null: "
                "set attack.train, or take CrossEntropyLoss"
            )
        clean, adversarial = network(batch["clean"]), network(batch["image"])
        loss = self._of_head(logits_of(clean), logits_of(adversarial), batch["label"])
        if isinstance(clean, dict) and clean.get("aux") is not None:
            loss = loss + self.aux_weight * self._of_head(clean["aux"], adversarial["aux"], batch["label"])
        return loss

    def _of_head(self, clean: Tensor, adversarial: Tensor, label: Tensor) -> Tensor:
        return cross_entropy(clean, label) + self.beta * kl_divergence(clean, adversarial, label)
