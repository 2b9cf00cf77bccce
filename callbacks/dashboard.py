"""The W&B dashboard of a run that is interrupted and goes on: one axis, and every step once."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from reports.files import write_whole

AXIS = "trainer/global_step"
"""What all is drawn over, whatever Lightning calls it."""

FILE = "logged.jsonl"
"""In the run's `wandb/`: a line for each row, with its number in the dashboard, its step, and its keys."""


class Dashboard(Callback):
    """Sees to it that a run's W&B dashboard has one axis, `trainer/global_step`, and no step twice.

    A run that was killed goes on from a checkpoint, and comes by steps that are in the dashboard already. What has been
    logged is noted in `wandb/logged.jsonl`, and not logged again, scalars or pictures: it would be the same. From a
    checkpoint of one's choice, none that a run goes on from by itself, all is logged.

    Of what W&B had not sent when the process was killed, at most the rows of 15 seconds, those after the checkpoint are
    sent again. Offline it writes its file every 15 seconds, too; here it is every fifth of a second, unless
    `WANDB__TRANSACTION_LOG_FLUSH_INTERVAL` says otherwise.
    """

    by_itself = ("last.ckpt", "previous.ckpt")

    def __init__(self) -> None:
        os.environ.setdefault("WANDB__TRANSACTION_LOG_FLUSH_INTERVAL", "0.2")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        chosen = bool(trainer.ckpt_path) and Path(str(trainer.ckpt_path)).name not in self.by_itself
        path = Path(trainer.default_root_dir, "wandb", FILE)
        for logger in trainer.loggers if trainer.is_global_zero else ():
            if isinstance(logger, WandbLogger) and not isinstance(logger.log_metrics, Once):
                logger.log_metrics = Once(logger, path, again=chosen)  # type: ignore[method-assign]


def mark_preempting(trainer: Trainer) -> None:
    """Tell W&B that the run is about to be preempted, and has not failed: it goes on."""
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if isinstance(logger, WandbLogger):
            logger.experiment.mark_preempting()


class Once:
    """A logger's `log_metrics`: leaves out what earlier processes have logged, and says what it is drawn over.

    Args:
        logger: whose `log_metrics` it is.
        path: of the file that says what has been logged.
        again: log everything, whatever has been.
    """

    def __init__(self, logger: WandbLogger, path: Path, again: bool) -> None:
        self.logger, self.path = logger, path
        run = logger.experiment
        run.define_metric(AXIS)
        run.define_metric("*", step_metric=AXIS, step_sync=True)
        self.row: int = getattr(run, "starting_step", 0)
        arrived = self.row if getattr(run, "resumed", False) else None
        last: dict[str, tuple[int, int]] = {}
        for row, step, keys in () if again else _read(path, logger.version):
            if arrived is None or row < arrived:
                last |= {key: (row, step) for key in keys if step >= last.get(key, (0, -1))[1]}
        self.before = {key: step for key, (_, step) in last.items()}
        if self.before:
            rank_zero_info(f"W&B: steps up to {max(self.before.values())} are in the dashboard, and not logged again")
        self._note(*({"row": row, "step": step, "keys": [key]} for key, (row, step) in last.items()), anew=True)

    def __call__(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        run, prefix = self.logger.experiment, f"{self.logger._prefix}-" if self.logger._prefix else ""
        named = {prefix + key: value for key, value in metrics.items()}
        new = {key: value for key, value in named.items() if step is None or step > self.before.get(key, -1)}
        if not new:
            return
        if step is not None:
            self._note({"row": self.row, "step": step, "keys": list(new)})
            new[AXIS] = step
        self.row += 1
        run.log(new)

    def _note(self, *rows: dict[str, Any], anew: bool = False) -> None:
        """Before they are logged: a kill between loses a row, and none comes twice."""
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        with suppress(OSError):  # a full disk is found by those who write more
            if anew:
                write_whole(self.path, json.dumps({"id": self.logger.version}) + "\n" + lines)
                return
            with self.path.open("a") as file:
                file.write(lines)


def _read(path: Path, version: str | None) -> Iterator[tuple[int, int, list[str]]]:
    """Row, step and keys of what is in a dashboard; nothing of another's, and no line that a kill left unfinished."""
    lines: list[str] = []
    with suppress(OSError):
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    for number, line in enumerate(lines):
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            content = json.loads(line)
            if number == 0 and content["id"] != version:
                return
            if number:
                yield int(content["row"]), int(content["step"]), list(map(str, content["keys"]))
