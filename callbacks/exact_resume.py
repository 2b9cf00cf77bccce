"""A run that was stopped anywhere goes on as if it had not been."""

import os
import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch.utils.data import RandomSampler

from attacks.seeds import mix
from callbacks.attack import run_seed

KEY = "position"
"""Where a checkpoint keeps the run's seed, and how many samples of the epoch are behind it, of all processes."""


class ExactResume(Callback):
    """Makes a step a function of the weights before it and of its place: the run's seed, epoch and batch.

    The generators of torch, numpy and Python are seeded before each batch, of training and of evaluation; the order of
    the samples and the augmentation of each are functions of the place, too (`datamodules.order`). Batch norm's
    statistics are made those of the first process after each batch, as DDP does before the next one: so that all
    attack the same network, and a checkpoint holds the statistics of all.

    With another batch size or number of processes than the checkpoint's, the epoch goes on with the samples that it
    has left.
    """

    def __init__(self) -> None:
        self._goes_on = self._inside = False
        """Whether the run goes on from a checkpoint, and whether inside an epoch."""
        self._from = -1, 0, 0
        """The epoch that it went on in; samples, and batches of now, that were behind it then."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        batch = getattr(datamodule, "batch_size", None)
        position = {"seed": run_seed()}
        if batch and trainer.state.fn == TrainerFn.FITTING:
            loop = checkpoint["loops"]["fit_loop"]
            (epoch, samples, batches), now = self._from, loop["epoch_progress"]["current"]["processed"]
            done = loop["epoch_loop.batch_progress"]["current"]["processed"]
            before, since = (samples, done - batches) if epoch == now else (0, done)
            position["samples"] = before + since * batch * trainer.world_size
        checkpoint[KEY] = position

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        before = checkpoint.get(KEY) or {}
        seed = before.get("seed", run_seed())
        if seed != run_seed():
            rank_zero_warn(f"seed_everything: the run was begun with seed {seed}, which is kept; not {run_seed()}")
            os.environ["PL_GLOBAL_SEED"] = str(seed)
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        loop = checkpoint["loops"]["fit_loop"]
        epoch, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]["current"]
        self._goes_on, self._inside = True, epoch["started"] != epoch["processed"]
        if not hasattr(datamodule, "go_on"):  # no order to go on in
            return
        if not self._inside:
            datamodule.go_on(epoch["processed"], 0)
            return
        behind = before.get("samples")
        if behind is None:  # of an older checkpoint
            behind = batches["processed"] * datamodule.batch_size * trainer.world_size
        further = datamodule.go_on(epoch["processed"], behind) - batches["processed"]
        batches.update({name: count + further for name, count in batches.items()})
        self._from = epoch["processed"], behind, batches["processed"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # With `max_steps` Lightning 2.6.6 would go back into an epoch that has ended, and count it twice (findings/).
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        if isinstance(trainer.strategy, DDPStrategy) and hasattr(trainer.strategy.model, "broadcast_buffers"):
            trainer.strategy.model.broadcast_buffers = False  # type: ignore[union-attr]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if (self._inside and not hasattr(sampler, "go_on")) or (self._goes_on and type(sampler) is RandomSampler):
            rank_zero_warn(
                "the run goes on, and the training loader has an order of its own, which begins again: inside an epoch "
                "samples may come twice or not at all; DataModule.train_dataloader has an order to go on in"
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        _seed(mix(run_seed(), trainer.current_epoch, batch_idx, trainer.global_rank))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(trainer.strategy, DDPStrategy) and trainer.world_size > 1:
            _share(pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _seed(mix(run_seed()))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        _seed(mix(run_seed(), batch["index"].flatten()[0].cpu()))

    on_test_start = on_validation_start
    on_test_batch_start = on_validation_batch_start


def _seed(value: torch.Tensor) -> None:
    seed = int(value) % 2**63
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _share(module: LightningModule) -> None:
    """Give all processes the floating-point buffers of the first one; counters are the same everywhere."""
    by_dtype: dict[torch.dtype, list[torch.Tensor]] = {}
    for buffer in module.buffers():
        if buffer.is_floating_point():
            by_dtype.setdefault(buffer.dtype, []).append(buffer)
    for buffers in by_dtype.values():
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        torch.distributed.broadcast(flat, 0)
        parts = flat.split([buffer.numel() for buffer in buffers])
        torch._foreach_copy_(buffers, [part.view_as(buffer) for part, buffer in zip(parts, buffers, strict=True)])
