"""Attacks that tell how often they were called, and wait or fail where a test says so.

The folder `$PACE` has a file `train.RANK` or `evaluate.RANK` with one byte for each call; `wait.RANK` says how many
seconds a call takes, `fail.RANK` that it raises.
"""

import os
import time
from pathlib import Path

from torch import Tensor, nn

from attacks import PGD, Linf


def train(
    network: nn.Module, image: Tensor, label: Tensor, seed: Tensor | None = None, region: Tensor | None = None
) -> Tensor:
    """One step of PGD."""
    _pace("train")
    return PGD(Linf(0.06), steps=1, step_size=0.02)(network, image, label, seed, region)


def evaluate(
    network: nn.Module, image: Tensor, label: Tensor, seed: Tensor | None = None, region: Tensor | None = None
) -> Tensor:
    """Two steps of PGD."""
    _pace("evaluate")
    return PGD(Linf(0.06), steps=2, step_size=0.02)(network, image, label, seed, region)


def _pace(name: str) -> None:
    folder, rank = Path(os.environ["PACE"]), os.environ["SLURM_PROCID"]
    with (folder / f"{name}.{rank}").open("a") as file:
        file.write(".")
    wait = folder / f"wait.{rank}"
    time.sleep(float(wait.read_text()) if wait.exists() else 0)
    if (folder / f"fail.{rank}").exists():
        raise RuntimeError("planted by the test")
