"""Why a callback ended training early."""

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping


def why_stopped(trainer: Trainer) -> str | None:
    """The reason of the first callback that has one: in its `stopped`, as those of ours, or of an `EarlyStopping`."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next(filter(None, map(_reason, callbacks)), None)


def _reason(callback: Callback) -> str | None:
    if isinstance(callback, EarlyStopping):
        return callback.stopping_reason_message if callback.stopped_epoch else None
    reason = getattr(callback, "stopped", None)
    return reason if isinstance(reason, str) else None
