"""What a run goes on from: when it is kept, which of it stays, and how a job ends with nothing lost."""

import math
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from callbacks.attack import attack_of
from callbacks.dashboard import mark_preempting
from callbacks.interruption import Stopped, ending
from callbacks.last_words import was_told
from callbacks.whole_files import keep_as

SHARE = 0.01
"""The most of a run's time that goes into checkpoints inside epochs and before evaluations."""


class Checkpoints(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt` in the run's folder, the one before as `previous.ckpt`, and the best if asked.

    Kept are the state every so often, before each evaluation, and after each epoch; but inside an epoch and before an
    evaluation only as often as takes less than 1 % of the time. A run that goes on from any of them ends with the same
    weights as one that was never stopped. Weights that are not finite are never kept.

    SIGTERM, SIGUSR1, Ctrl-C and `trainer.max_time` end the job where nothing is lost: after an optimizer step that all
    processes agree on, or at once in an evaluation, which a run that goes on does again from its beginning.

    Args:
        every_minutes: time between checkpoints inside an epoch.
        every_steps: keep one every so many optimizer steps instead, however much time it takes.
        best: a metric such as `val/pgd/accuracy`, by which the best is kept as `best.ckpt`: the highest, or of a loss
            the lowest.

    Raises:
        ValueError: on a number that is not above 0.
        MisconfigurationException: if there is no such metric; before training, where it is one of ours.
    """

    def __init__(self, every_minutes: float = 10.0, every_steps: int | None = None, best: str | None = None) -> None:
        for name, value in {"every_minutes": every_minutes, "every_steps": every_steps}.items():
            if value is not None and not value > 0:
                raise ValueError(f"checkpoints: {name}={value}: a number above 0")
        super().__init__(filename="last", enable_version_counter=False)
        self.every_minutes, self.every_steps, self.best = every_minutes, every_steps, best
        self.best_score: float | None = None
        """The best value of `best` so far."""
        self._kept: int | None = None
        self._kept_at = time.monotonic()
        self._cost = 0.0
        self._group: Any = None

    @property
    def state_key(self) -> str:
        return "Checkpoints"

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict.get("best") == self.best:
            self.best_score = state_dict["best_score"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        connector = trainer._signal_connector  # its handlers wait for other processes, which may not come
        connector.register_signal_handlers, connector.teardown = ending.listen, ending.stop_listening  # type: ignore[method-assign]
        self.dirpath = str(Path(trainer.default_root_dir) / "checkpoints")
        if trainer.world_size > 1 and self._group is None:
            # On the hosts, so that no GPU is waited for; as long as the first process may paint.
            self._group = torch.distributed.new_group(backend="gloo", timeout=timedelta(days=1))
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if not isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
            raise MisconfigurationException(
                f"trainer.strategy: with {type(trainer.strategy).__name__} the state is spread over the processes, and "
                "a run could not go on from it; use ddp"
            )
        self._check_best(trainer)
        if trainer.is_global_zero:
            os.makedirs(self.dirpath, exist_ok=True)  # where that cannot be, it is better told before training
            for unfinished in Path(self.dirpath).glob(".*.part"):
                unfinished.unlink()
        self._kept_at = time.monotonic()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            # In every step Lightning would have the devices wait for the news that we deal out ourselves.
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop = trainer.fit_loop
        if loop._should_accumulate():  # half-gathered gradients are no state to keep
            return
        told, due = self._agree(trainer)
        if loop.epoch_loop._num_ready_batches_reached():  # what follows the epoch begins with a checkpoint
            return
        if told or due:
            self._keep(trainer, pl_module)
        if told and trainer.world_size > 1:
            torch.distributed.barrier(self._group)  # launchers end all processes soon after the first has left
        if told:  # what came since waits for the next step, on which all agree again
            ending.heed()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._is_training(trainer) and (ending.told or self._is_worth_it()):
            self._keep(trainer, pl_module)
        ending.heed()

    def _heed(self, *_: Any) -> None:
        ending.heed()

    on_validation_batch_start = on_test_start = on_test_batch_start = on_predict_batch_start = _heed  # type: ignore

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait here for the others, for the first one's paintings above all: here the end of one is noticed at once."""
        if self._group is not None:
            torch.distributed.barrier(self._group)

    on_test_epoch_end = on_validation_epoch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.best is None or trainer.state.fn != TrainerFn.FITTING:
            return
        score = self._score(trainer, pl_module)
        if trainer.sanity_checking:
            return
        sign = -1 if self.best.endswith("loss") else 1
        if self.best_score is None or math.isnan(self.best_score) or sign * score > sign * self.best_score:
            self.best_score = score
            self._write(trainer, pl_module, "best")
            self.best_model_path = self._path("best")
            self.best_model_score = torch.tensor(score)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer, pl_module)
        told, _ = self._agree(trainer)
        if told and not trainer.should_stop and trainer.current_epoch + 1 != trainer.max_epochs:
            ending.heed()  # what is left after the last epoch is quickly done

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """What an error interrupts is lost back to the last checkpoint; nothing waits for other processes here."""
        if trainer.validating and trainer.fit_loop._data_fetcher is not None:
            trainer.fit_loop._data_fetcher.teardown()  # Lightning ends the workers of the loop that it is in alone
        signum = getattr(exception, "signum", None) or was_told(Path(trainer.default_root_dir), exception)
        if not isinstance(exception, Stopped) and not signum:
            return
        mark_preempting(trainer)
        if trainer.validating and self._is_training(trainer) and self._kept != trainer.global_step:
            self._keep(trainer, pl_module)  # the state is that from before the evaluation
        launcher = trainer.strategy.launcher
        if launcher is not None and signum and signum != ending.TIME_IS_UP:
            launcher.kill(signum)

    def _is_training(self, trainer: Trainer) -> bool:
        """Whether there is a state to keep: of a fit that has begun, without half-gathered gradients."""
        begun = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and trainer.global_step > 0
        return begun and not trainer.fit_loop._should_accumulate()

    def _agree(self, trainer: Trainer) -> tuple[bool, bool]:
        """Whether one of the processes was told to end, and whether the first one thinks that a checkpoint is due."""
        step = trainer.global_step
        if self.every_steps is not None:
            due = step % self.every_steps == 0
        else:
            due = time.monotonic() - self._kept_at > 60 * self.every_minutes and self._is_worth_it()
        if trainer.world_size == 1:
            return bool(ending.told), due
        state = torch.tensor([ending.told, int(due and trainer.is_global_zero)])
        torch.distributed.all_reduce(state, torch.distributed.ReduceOp.MAX, self._group)
        ending.elsewhere, due = state.tolist()
        return bool(ending.elsewhere), bool(due)

    def _is_worth_it(self) -> bool:
        """Whether checkpoints take little of the time, this one included."""
        return time.monotonic() - self._kept_at > self._cost / SHARE

    def _keep(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the state as the last one, and the last one as the one before."""
        last = Path(self._path("last"))
        if not trainer.fast_dev_run and trainer.is_global_zero:  # type: ignore[attr-defined]
            if not all(weight.isfinite().all() for weight in pl_module.parameters()):
                rank_zero_warn(f"{last} stays as it is: the weights are not finite any more")
                return
            keep_as(last, last.with_name("previous.ckpt"))
        started = time.monotonic()
        self._write(trainer, pl_module, "last")
        self.last_model_path = str(last)
        self._kept, self._kept_at = trainer.global_step, time.monotonic()
        self._cost = self._kept_at - started

    def _write(self, trainer: Trainer, pl_module: LightningModule, name: str) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if trainer.is_global_zero:  # whose state is that of all
            checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            trainer.strategy.save_checkpoint(checkpoint, self._path(name))
        for logger in trainer.loggers if trainer.is_global_zero else ():
            logger.after_save_checkpoint(self)

    def _path(self, name: str) -> str:
        assert self.dirpath is not None
        return str(Path(self.dirpath) / f"{name}.ckpt")

    def _check_best(self, trainer: Trainer) -> None:
        """Whether the version of the images is one that will be evaluated; the rest the first evaluation shows."""
        stage, _, version = (self.best or "").rpartition("/")[0].partition("/")
        attack = attack_of(trainer)
        if stage == "val" and version not in ("clean", *attack.evaluate):
            raise MisconfigurationException(
                f"checkpoints.best: {self.best}: evaluated are {', '.join(('clean', *attack.evaluate))}"
            )

    def _score(self, trainer: Trainer, pl_module: LightningModule) -> float:
        assert self.best is not None
        results: dict[str, dict[str, Any]] = getattr(pl_module, "results", {})
        measured = {
            f"val/{version}/{name}": value
            for version, values in results.items()
            for name, value in values.items()
            if isinstance(value, int | float)
        }
        logged: dict[str, Tensor] = trainer.callback_metrics
        value = measured.get(self.best, logged.get(self.best))
        if value is None:
            raise MisconfigurationException(
                f"checkpoints.best: no metric {self.best}; there are {', '.join(sorted({*measured, *logged}))}"
            )
        return float(value)
