"""How fast training is, what its time goes to, and how much memory it takes."""

import resource
import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler

from callbacks.attack import attack_of, is_logged, wait_for


class Speed(Callback):
    """Logs where the time of training goes; on a GPU the steps that are logged, and only these, wait for the device.

    `speed/images_per_second` is over all devices and all steps since the last that was logged, evaluation left out;
    `speed/data_share` is the share of this time that this process waited for its next batch (not told where the Trainer
    has a profiler of its own). `speed/attack_share` is the attack's share of the step that is logged.
    `speed/memory_gib` is the most memory that was taken so far: of the GPU by tensors, or else of the host by this
    process, without the loaders' workers.
    """

    def __init__(self) -> None:
        self._images = 0
        self._since = 0.0
        self._paused = 0.0
        self._step_start = 0.0
        self._waits: _Waits | None = None

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        if type(trainer.profiler) is PassThroughProfiler:
            trainer.profiler = self._waits = _Waits()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(time.perf_counter())

    def _begin(self, now: float) -> None:
        self._images, self._since = 0, now
        if self._waits is not None:
            self._waits.seconds = 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        wait_for(pl_module.device)
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since += time.perf_counter() - self._paused

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if is_logged(trainer, batch_idx):
            wait_for(pl_module.device)
            self._step_start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch["image"]) * trainer.world_size
        if not is_logged(trainer, batch_idx):
            return
        wait_for(pl_module.device)
        now = time.perf_counter()
        values = {"speed/images_per_second": self._images / (now - self._since), "speed/memory_gib": memory(pl_module)}
        if self._waits is not None:
            values["speed/data_share"] = self._waits.seconds / (now - self._since)
        attack = attack_of(trainer)
        if attack.train is not None:
            values["speed/attack_share"] = attack.seconds / (now - self._step_start)
        pl_module.log_dict(values, batch_size=1)
        self._begin(now)


def memory(pl_module: LightningModule) -> float:
    """The most memory taken so far, in GiB: of the module's GPU by tensors, or of the host by this process."""
    if pl_module.device.type == "cuda":
        return torch.cuda.max_memory_allocated(pl_module.device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


class _Waits(PassThroughProfiler):
    """Adds up the time that training waits for its next batch, and looks at nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._since = 0.0

    def start(self, action_name: str) -> None:
        if action_name.endswith("train_dataloader_next"):
            self._since = time.perf_counter()

    def stop(self, action_name: str) -> None:
        if action_name.endswith("train_dataloader_next"):
            self.seconds += time.perf_counter() - self._since
