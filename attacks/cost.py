"""What an attack costs, counted at the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from attacks.objectives import logits_of


@dataclass
class Cost:
    """Images that went through a network, and images whose gradient came back."""

    forwards: int = 0
    backwards: int = 0


@contextmanager
def counted(network: nn.Module) -> Iterator[Cost]:
    """Count inside what goes through the network; a surrogate of `Transfer` is another network, and not counted."""
    cost = Cost()

    def forward(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        cost.forwards += len(args[0])
        logits = logits_of(output)
        if logits.requires_grad:
            logits.register_hook(backward)

    def backward(gradient: Any) -> None:
        cost.backwards += len(gradient)

    handle = network.register_forward_hook(forward)
    try:
        yield cost
    finally:
        handle.remove()
