"""What training lowers. A loss sees the network and the batch, so that TRADES is a loss, not a module."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from attacks.objectives import cross_entropy, logits_of


class Loss(ABC):
    """`loss(network, batch)` gives one value per sample, `(B,)`; any callable of that shape fits in its place."""

    @abstractmethod
    def __call__(self, network: nn.Module, batch: dict[str, Any]) -> Tensor:
        """Forward what the recipe needs and compare it with `batch["label"]`."""


class CrossEntropyLoss(Loss):
    """Each sample's mean cross-entropy over its valid pixels, plus that of the auxiliary head where there is one.

    Args:
        aux_weight: weight of the auxiliary head's loss (torchvision's reference: 0.5).
    """

    def __init__(self, aux_weight: float = 0.5) -> None:
        self.aux_weight = aux_weight

    def __call__(self, network: nn.Module, batch: dict[str, Any]) -> Tensor:
        output = network(batch["image"])
        loss = cross_entropy(logits_of(output), batch["label"])
        if isinstance(output, dict) and "aux" in output:
            loss = loss + self.aux_weight * cross_entropy(output["aux"], batch["label"])
        return loss
