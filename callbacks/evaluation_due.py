"""What a run has trained is evaluated before it ends, also where it was interrupted or stopped early."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

STOPPED = "stopped"
"""Where a checkpoint of a run that a callback has stopped keeps the limits that it had."""


class EvaluationDue(Callback):
    """Sees to it that a fit ends with an evaluation of the network as it is then.

    A checkpoint that is written while an epoch is evaluated says that this is to be done again, from the first image.
    Where training ends and nothing was evaluated since the last step (it was stopped by a callback, by `max_steps`
    inside an epoch, or it had been interrupted there before), the evaluation follows. What a callback has stopped stays
    stopped when it goes on, unless it is given other limits or other callbacks that stop.
    """

    def __init__(self) -> None:
        self._evaluated: int | None = None
        self._progress: tuple[int, int] = (0, 0)
        self._limits: tuple[int | None, int] | None = None
        self._is_stopped = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._evaluated = trainer.global_step

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        if trainer.should_stop:
            checkpoint[STOPPED] = _limits(trainer)
        if self._evaluated != trainer.global_step and (trainer.validating or _evaluation_follows(trainer)):
            started = {"ready": 1, "started": 1, "processed": 0, "completed": 0}  # so Lightning goes back to it
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress |= {"total": started, "current": dict(started), "is_last_batch": False}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
            self._progress = epochs, checkpoint["global_step"]
            self._is_stopped = checkpoint.get(STOPPED) == _limits(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Where nothing is left to train, Lightning would not even begin: it thinks so until it has."""
        loop, (epochs, steps) = trainer.fit_loop, self._progress
        if not steps:
            return
        self._limits = loop.max_epochs, loop.epoch_loop.max_steps
        if loop.max_epochs not in (None, -1):
            loop.max_epochs = max(loop.max_epochs, epochs + 1)
        if loop.epoch_loop.max_steps != -1:
            loop.epoch_loop.max_steps = max(loop.epoch_loop.max_steps, steps + 1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._limits is not None:
            trainer.fit_loop.max_epochs, trainer.fit_loop.epoch_loop.max_steps = self._limits
            self._limits = None
        if self._is_stopped:  # by a callback, before it was interrupted
            self._is_stopped, trainer.should_stop = False, True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._evaluated == trainer.global_step or not trainer.global_step or not trainer.enable_validation:
            return
        loop, epoch = trainer.fit_loop.epoch_loop.val_loop, trainer.fit_loop.epoch_progress.current
        loop.restarting = False
        completed, epoch.completed = epoch.completed, max(0, epoch.processed - 1)  # type: ignore[attr-defined]
        trainer.validating = True
        loop.run()
        trainer.training = True
        epoch.completed = completed


def _limits(trainer: Trainer) -> dict[str, Any]:
    """All that may end a run, as plain values; where these are others, a run that was stopped goes on."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    names = sorted(
        type(each).__name__ for each in callbacks if hasattr(each, "stopped") or hasattr(each, "stopped_epoch")
    )
    return {"max_epochs": trainer.max_epochs, "max_steps": trainer.max_steps, "callbacks": names}


def _evaluation_follows(trainer: Trainer) -> bool:
    """Whether the batch that has just ended is followed by an evaluation, inside an epoch."""
    loop = trainer.fit_loop
    current: Any = loop.epoch_loop.batch_progress.current
    ended = trainer.training and current.processed != current.completed
    return bool(ended and loop._data_fetcher and loop.epoch_loop._should_check_val_fx(loop._data_fetcher))
