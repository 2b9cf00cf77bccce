"""Learning rate schedules made from the optimizer and the run's number of steps, besides those of torch."""

from collections.abc import Sequence

from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR


class Drops(MultiStepLR):
    """Multiplies the learning rate by `factor` at some epochs.

    Args:
        optimizer: whose learning rate it is.
        steps: the run's number of optimizer steps.
        at: when to drop it, as epochs of a run of `of` epochs; a run of another length drops it at the same shares.
        of: number of epochs that `at` counts in.
        factor: by how much.

    Raises:
        MisconfigurationException: if a drop lies outside the run.
    """

    def __init__(self, optimizer: Optimizer, steps: int, at: Sequence[float], of: float, factor: float = 0.1) -> None:
        if not all(0 < epoch < of for epoch in at):
            raise MisconfigurationException(f"Drops: at={list(at)} must lie between 0 and of={of}")
        super().__init__(optimizer, [round(steps * epoch / of) for epoch in at], factor)


class Triangle(LambdaLR):
    """Raises the learning rate linearly from 0 to the optimizer's own, and lowers it to 0 again.

    One cycle of the cyclic learning rate (Smith 2017) that fast adversarial training takes (Wong et al. 2020).

    Args:
        optimizer: whose learning rate it is.
        steps: the run's number of optimizer steps.
        peak: when it is highest, as a share of the run, between 0 and 1.

    Raises:
        MisconfigurationException: if the peak lies outside the run.
    """

    def __init__(self, optimizer: Optimizer, steps: int, peak: float = 0.5) -> None:
        if not 0 < peak < 1:
            raise MisconfigurationException(f"Triangle: peak={peak} must lie between 0 and 1, as a share of the run")
        self.peak = peak  # part of its state, by which another peak is noticed
        up = peak * steps
        super().__init__(optimizer, lambda step: max(0.0, min(step / up, (steps - step) / (steps - up))))
