"""Optimizers and schedules as a config names them, looked at before they are used for hours."""

import inspect
import io
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer, SparseAdam
from torch.optim.lr_scheduler import LRScheduler

from attacks.adversary import made_by
from lightning_modules.weight_files import NetworkError, reason

Made = TypeVar("Made", Optimizer, LRScheduler)

RUN_LENGTHS = ("T_0", "T_max", "total_iters")
"""What torch's own schedules call a number of steps that may be that of the run."""


def make(kind: type[Made], maker: Callable[..., Made], *arguments: Any) -> Made:
    """An optimizer or a schedule, whose checkpoints can be taken back.

    Raises:
        NetworkError: if it cannot be made, is none, does not fit networks here, or if its state is more than numbers,
            tensors and plain containers, and would make the checkpoints of a run useless.
    """
    what = "model.optimizer" if kind is Optimizer else "model.schedule"
    try:
        made = maker(*arguments)
    except (TypeError, ValueError, RuntimeError, AttributeError, ZeroDivisionError) as error:
        raise NetworkError(f"{what} cannot be made: {reason(error)}") from error
    if not isinstance(made, kind):
        raise NetworkError(f"{what} made {type(made).__name__}, no {kind.__name__} of torch")
    if isinstance(made, SparseAdam):
        raise NetworkError(f"{what}: SparseAdam takes sparse gradients only, which no network here has; take Adam")
    file = io.BytesIO()
    try:
        torch.save(made.state_dict(), file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception as error:  # pickling calls whatever the state holds
        raise NetworkError(
            f"{what}: the state of {type(made).__name__} holds more than numbers, tensors and plain containers, so "
            "that no checkpoint of the run could be taken back; leave the rest out of its state_dict()"
        ) from error
    return made


def check_schedule(maker: Callable[..., Any]) -> None:
    """Raises NetworkError if a schedule of torch would take the run's number of steps for something else.

    `OneCycleLR(optimizer, 2000)` has a learning rate of 2000, not a length of 2000 steps.
    """
    made = made_by(maker)
    if inspect.isclass(made) and made.__module__.startswith("torch."):
        second = list(inspect.signature(made).parameters)[1]
        if second not in RUN_LENGTHS:
            raise NetworkError(
                f"model.schedule: {made.__name__} takes {second} where a schedule is given the run's number of steps; "
                "name a function of yours that makes it from (optimizer, steps), or take Drops or PolynomialLR"
            )
