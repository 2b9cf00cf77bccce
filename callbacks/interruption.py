"""The end of a job is heeded inside long attacks and paintings, not only after them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn


@contextmanager
def interruptible(network: nn.Module, trainer: Trainer) -> Iterator[None]:
    """Inside, the network's next look at images after a SIGTERM ends the run, as the end of the batch would.

    In one process only: of several, one that left alone would leave the others waiting.
    """
    if trainer.world_size > 1:
        yield
        return

    def look(*_: Any) -> None:
        if trainer.received_sigterm:
            raise SIGTERMException

    handle = network.register_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()
