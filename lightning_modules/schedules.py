"""Learning rate schedules made from the optimizer and the run's number of steps, besides those of torch."""

from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR


class Drops(MultiStepLR):
    """Multiplies the learning rate by `factor` at some epochs.

    Args:
        optimizer: whose learning rate it is.
        steps: the run's number of optimizer steps.
        at: when to drop it, as epochs of a run of `of` epochs; a run of another length drops it at the same shares.
        of: number of epochs that `at` counts in.
        factor: by how much.

    Raises:
        ValueError: if a drop lies outside the run.
    """

    def __init__(self, optimizer: Optimizer, steps: int, at: Sequence[float], of: float, factor: float = 0.1) -> None:
        if not all(0 < epoch < of for epoch in at):
            raise ValueError(f"Drops: at={list(at)} must lie between 0 and of={of}")
        super().__init__(optimizer, [round(steps * epoch / of) for epoch in at], factor)
