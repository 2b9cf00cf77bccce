"""What a run is doing, on disk while it does it: `progress.json`, which `cli.py status` reads."""

import json
import math
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.attack import is_logged
from callbacks.stopping import why_stopped
from callbacks.synthesis.callback import PictureCallback
from reports.files import write_whole
from reports.progress import ENDED, FILE, read_progress
from reports.wording import printable


class Progress(Callback):
    """Writes `progress.json` into the run's folder, whole, every 15 seconds or so and when the run's state changes.

    `state` is `starting`, `training`, `evaluating`, `painting` or `saving`, and in the end `finished`, `stopped` (by a
    callback), `interrupted` (by a signal) or `failed`, with its `reason`. `process` says where it runs: pid, host and
    SLURM's job. `epoch`, `step` and the `batch` of an evaluation stand beside how many there are (`epochs`, `steps`,
    `batches`), as far as that is known. `metrics` are those of the last evaluation, `checkpoint` the step and the time
    of the last checkpoint. `seconds_left` is an estimate: the steps and evaluations to come at the pace of the last
    hundred or so; logged as `speed/hours_left`. Times are seconds since 1970.

    A file that cannot be written is no reason to stop. Only process 0 writes.
    """

    every = 15.0
    """Seconds."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}
        """What the file holds."""
        self._written = 0.0
        self._pace, self._evaluation = Pace(), Pace()
        self._since: float | None = None  # of the batch that runs, or the end of the one before
        self._began: float | None = None  # of the evaluation that runs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.content = {"command": trainer.state.fn, "metrics": {}, "checkpoint": None, "seconds_per_evaluation": None}
        if stage == "fit":
            with suppress(OSError, ValueError):  # else nothing is known of what was before
                before = read_progress(Path(trainer.default_root_dir))
                self.content |= {
                    "metrics": before.metrics,
                    "checkpoint": before.checkpoint,
                    "seconds_per_evaluation": before.seconds_per_evaluation,
                }
        self._to(trainer, "starting")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._since is None:
            self._since = time.perf_counter()
        self._to(trainer, "training")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._count(self._pace, trainer, batch)
        if is_logged(trainer, batch_idx) and (left := self._seconds_left(trainer)) is not None:
            pl_module.log("speed/hours_left", left / 3600, batch_size=1)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = self._began = time.perf_counter()
        self._evaluation = Pace()
        self._to(trainer, "starting" if trainer.sanity_checking else "evaluating")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._count(self._evaluation, trainer, batch)
        self._to(trainer, self.content["state"])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(callback, PictureCallback) and callback.is_due(trainer) for callback in callbacks):
            self._to(trainer, "painting")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        took = time.perf_counter() - (self._began or 0.0)
        self._since = self._began = None
        if trainer.sanity_checking:
            return
        stage = "test" if trainer.state.fn == TrainerFn.TESTING else "val"
        metrics = {
            f"{stage}/{version}/{name}": value
            for version, values in getattr(pl_module, "results", {}).items()
            for name, value in values.items()
            if name != "samples" and isinstance(value, float)
        }
        self._to(trainer, "evaluating", always=True, metrics=metrics, seconds_per_evaluation=took)

    on_test_start = on_predict_start = on_validation_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end
    on_test_end = on_validation_end

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Also after an interruption: then the state stays that."""
        state = self.content["state"] if self.content["state"] in ENDED else "saving"
        self._to(trainer, state, always=True, checkpoint={"step": checkpoint["global_step"], "time": time.time()})

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.state.fn is not None and self.content.get("state") not in ENDED:
            reason = why_stopped(trainer)
            self._to(trainer, "stopped" if reason else "finished", reason=reason)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        signalled = isinstance(exception, KeyboardInterrupt | SystemExit)
        self._to(trainer, "interrupted" if signalled else "failed", reason=printable(_why(exception)))

    def _count(self, pace: "Pace", trainer: Trainer, batch: Any) -> None:
        now = time.perf_counter()
        images = len(batch["image"]) if isinstance(batch, dict) else 0
        pace.add(now - (now if self._since is None else self._since), images * trainer.world_size)
        self._since = now

    def _to(self, trainer: Trainer, state: str, always: bool = False, **content: Any) -> None:
        """The run is in a state; it is written if that is another than before, or some time has passed."""
        changed = state != self.content.get("state")
        self.content |= {"state": state, **content}
        if not trainer.is_global_zero or not (changed or always or time.monotonic() - self._written > self.every):
            return
        self._written = time.monotonic()
        text = json.dumps(self.content | self._place(trainer), indent=2) + "\n"
        with suppress(OSError):
            write_whole(Path(trainer.default_root_dir) / FILE, text)

    def _place(self, trainer: Trainer) -> dict[str, Any]:
        """Where the run is now."""
        fitting, ended = trainer.state.fn == TrainerFn.FITTING, self.content["state"] in ENDED
        evaluating = self.content["state"] == "evaluating" and self._began is not None
        pace = self._evaluation if evaluating else self._pace
        told = pace.seconds and (evaluating or self.content["state"] in ("training", "saving"))
        epochs = None if trainer.max_epochs in (None, -1) else trainer.max_epochs
        epoch = trainer.current_epoch + (self.content["state"] not in ("finished", "stopped"))
        return {
            "reason": self.content.get("reason"),
            "process": {"pid": os.getpid(), "host": socket.gethostname(), "job": os.environ.get("SLURM_JOB_ID")},
            "epoch": min(epoch, epochs or epoch) if fitting else None,
            "epochs": epochs if fitting else None,
            "step": trainer.global_step if fitting else None,
            "steps": steps_of(trainer) if fitting else None,
            "batch": self._evaluation.batches if evaluating else None,
            "batches": _batches(trainer) if evaluating else None,
            "images_per_second": pace.images / pace.seconds if told else None,
            "seconds_left": None if ended else self._seconds_left(trainer),
            "written": time.time(),
        }

    def _seconds_left(self, trainer: Trainer) -> float | None:
        """Until all is done; None where the length or the pace is not known yet."""
        batches = _batches(trainer)
        left = 0.0
        if self._began is not None:
            past = time.perf_counter() - self._began
            whole = self._one_evaluation(batches)
            if whole is None:
                return None
            left = max(0.0, whole - past)
        if trainer.state.fn != TrainerFn.FITTING:
            return left
        steps = steps_of(trainer)
        if steps is None or not self._pace.batches:
            return None
        todo = max(0, steps - trainer.global_step)
        left += todo * trainer.accumulate_grad_batches * self._pace.seconds
        return left + evaluations_left(trainer, todo) * (self._one_evaluation(batches) or 0.0)

    def _one_evaluation(self, batches: int | None) -> float | None:
        """The seconds that one takes, paintings included: those of the last one, or else by the pace of this one."""
        before: float | None = self.content.get("seconds_per_evaluation")
        pace = self._evaluation
        return before if before is not None or not pace.batches or batches is None else pace.seconds * batches


def _why(exception: BaseException) -> str:
    """A signal by its name, where the exit status says which; else the error, on one line."""
    code = signal.SIGINT + 128 if isinstance(exception, KeyboardInterrupt) else getattr(exception, "code", None)
    if isinstance(code, int) and code - 128 in list(signal.Signals):
        return signal.Signals(code - 128).name
    if isinstance(exception, SystemExit) and code == 0:
        return "its time is up"
    return " ".join(f"{type(exception).__name__}: {exception}".split()).removesuffix(":")


class Pace:
    """Seconds and images of a batch: the mean of the first hundred, then one in which the last hundred or so count."""

    def __init__(self) -> None:
        self.batches, self.seconds, self.images = 0, 0.0, 0.0

    def add(self, seconds: float, images: int) -> None:
        self.batches += 1
        weight = max(1 / self.batches, 0.01)
        self.seconds += weight * (seconds - self.seconds)
        self.images += weight * (images - self.images)


def steps_of(trainer: Trainer) -> int | None:
    """The optimizer steps of a whole fit; None if it has no end, or its data no length."""
    limits = [trainer.max_steps] if trainer.max_steps != -1 else []
    if trainer.max_epochs not in (None, -1) and math.isfinite(trainer.num_training_batches):
        limits.append(trainer.max_epochs * math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
    return min(limits, default=None)


def evaluations_left(trainer: Trainer, steps: int) -> int:
    """How many evaluations begin in so many more optimizer steps, the last of which ends the fit."""
    batches = trainer.val_check_batch
    if not trainer.enable_validation or not steps:
        return 0
    if batches is None or not math.isfinite(batches):
        return 1
    every = math.ceil(batches / trainer.accumulate_grad_batches) * (trainer.check_val_every_n_epoch or 1)
    return math.ceil(steps / max(1, every))


def _batches(trainer: Trainer) -> int | None:
    """Of one evaluation, on this process."""
    number = trainer.num_val_batches
    if trainer.state.fn in (TrainerFn.TESTING, TrainerFn.PREDICTING):
        number = trainer.num_test_batches if trainer.state.fn == TrainerFn.TESTING else trainer.num_predict_batches
    return int(sum(number)) if math.isfinite(sum(number)) else None
