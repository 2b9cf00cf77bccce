"""Checkpoints in the layout of published ones."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dill
import numpy as np
import torch
from torch import nn

MEAN, STD = (0.4717, 0.4499, 0.3837), (0.26, 0.2516, 0.2575)
"""Restricted ImageNet's."""


def prefixed(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{key}": value for key, value in state.items()}


def robustness(
    path: Path, model: nn.Module, form: str = "zip", change: Callable[[dict[str, Any]], Any] = lambda state: None
) -> None:
    """A checkpoint as that library writes it, with dill: weights twice, optimizer, schedule and much else."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    state = {"normalizer.new_mean": mean, "normalizer.new_std": std, **prefixed("model.", model.state_dict())}
    state |= {"attacker.normalize.new_mean": mean, "attacker.normalize.new_std": std}
    state |= {f"attacker.{key}": value.clone() for key, value in prefixed("model.", model.state_dict()).items()}
    change(state)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.1 ** (epoch // 50))
    checkpoint = {
        "model": OrderedDict(prefixed("module.", state)),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "epoch": 90,
        "amp": None,
        "nat_prec1": np.float64(57.9),
        "adv_prec1": torch.tensor(35.0),
        "fn": eval("lambda x: x + 1", {}),  # dill takes a function's globals along
    }
    torch.save(checkpoint, path, pickle_module=dill, _use_new_zipfile_serialization=form == "zip")


def trained(model: nn.Module) -> nn.Module:
    """The model, with the batch norm statistics of one that was trained."""
    for i, (key, value) in enumerate(model.state_dict().items()):
        if "running" in key:
            value.uniform_(0.5, 1.5)
        elif "tracked" in key:
            value.fill_(i)
    return model
