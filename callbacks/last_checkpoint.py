"""The checkpoint that a run goes on from: whole at any time, also when the disk is full or a job ends."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn


class LastCheckpoint(ModelCheckpoint):
    """Keeps `last.ckpt` after each epoch, and where an exception interrupts it.

    Args:
        folder: where to keep it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder, "last", save_on_exception=True, save_on_train_epoch_end=True, enable_version_counter=False
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            assert self.dirpath is not None
            os.makedirs(self.dirpath, exist_ok=True)  # where that cannot be, it is better told before training
        super().setup(trainer, pl_module, stage)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what has been trained and has not diverged; no process waits for another here: it may not come."""
        if not trainer.global_step or not self._should_save_on_exception(trainer):
            return
        if not all(weight.isfinite().all() for weight in pl_module.parameters()):
            return
        together = trainer.world_size == 1 or isinstance(exception, SIGTERMException)
        if not together and not isinstance(trainer.strategy, DDPStrategy):
            return  # its state is spread over the processes
        try:
            checkpoint = trainer._checkpoint_connector.dump_checkpoint(self.save_weights_only)
            trainer.strategy.save_checkpoint(checkpoint, self.format_checkpoint_name({}))
        except OSError as error:
            if not isinstance(exception, OSError):  # the disk is full: that is told anyway
                rank_zero_warn(f"what was trained since the last checkpoint is lost: {error}")


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place, then renames it there, so that the one before is whole until then.

    Lightning writes to the folder for temporary files, which is often on another disk: then it is copied over the one
    before, and what ends in the middle leaves neither.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Raises OSError, with the file's name, where it cannot be written."""
        target = Path(path)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        except (OSError, RuntimeError) as error:  # torch hides the one behind the other
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            raise OSError(cause.errno, cause.strerror or str(cause), str(target)) from error
        finally:
            unfinished.unlink(missing_ok=True)
