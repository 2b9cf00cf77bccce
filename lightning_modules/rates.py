"""Learning rates of a run that goes on: those of its config, from the place that the checkpoint has reached."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

Made = tuple[Optimizer, LRScheduler | None]
Make = Callable[[int | None], Made]

KEY = "rates"
"""Where a checkpoint keeps what optimizer and schedule began with."""


class Rates:
    """What the rates of a run began with, to be kept in its checkpoints and compared when it goes on.

    Position and weights are the checkpoint's, settings are the config's. Where these are as before, all is restored as
    it was, to the bit. Where the run's length or a setting is another, the schedule is made anew and brought to the
    place that the run has reached, so that the rates to come are those of one run with the new settings; a line says
    so. The place is the epoch and the steps in it: with another batch size or number of devices an epoch has another
    number of steps. In a run that ends at `max_steps` it is the number of steps.
    """

    def __init__(self, optimizer: Optimizer, schedule: LRScheduler | None, trainer: Trainer | None) -> None:
        """Looks at optimizer and schedule before the first step; the trainer is asked only if there is a schedule."""
        self.ahead = 0
        """By how much the schedule's position exceeds the number of steps that the trainer counts."""
        self.steps: int | None = None
        self.per_epoch: int | None = None
        self._by_steps = False
        self._batches_a_step = 1
        if trainer is not None and schedule is not None:
            self.steps = length(trainer)
            self._by_steps = self.steps == trainer.max_steps
            self._batches_a_step = trainer.accumulate_grad_batches
            batches = trainer.num_training_batches
            if not math.isinf(batches):
                self.per_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
        self.begun = _settings(optimizer, schedule)
        self._sizes = [len(group["params"]) for group in optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and numbers."""
        return {"begun": self.begun, "steps": self.steps, "per_epoch": self.per_epoch, "ahead": self.ahead}

    def go_on(self, checkpoint: dict[str, Any], make: Make) -> None:
        """Put into a checkpoint, before it is restored, the rates that this run has at its place.

        Args:
            checkpoint: of Lightning, with what `state_dict` gave under `KEY`.
            make: makes optimizer and schedule anew, for a run of so many steps.

        Raises:
            MisconfigurationException: if the checkpoint's optimizer is of another kind or for other weights, or the
                schedule cannot be brought to its place.
        """
        if not checkpoint.get("optimizer_states"):  # Lightning says so
            return
        before = checkpoint.get(KEY) or {}
        self._check_optimizer(checkpoint["optimizer_states"], before.get("begun"))
        self.ahead = before.get("ahead", 0)
        was_at = checkpoint["global_step"] + self.ahead
        then, now = before.get("per_epoch"), self.per_epoch
        by_epochs = then and now and not self._by_steps
        place = was_at // then * now + (self._in_epoch(checkpoint) if was_at % then else 0) if by_epochs else was_at
        if place == was_at and before.get("begun") == self.begun and before.get("steps") == self.steps:
            return
        self.ahead = place - checkpoint["global_step"]
        optimizer, schedule = make(self.steps)
        if schedule is not None:
            _advance(schedule, place)
        saved = checkpoint["optimizer_states"][0]["param_groups"]
        restored = [group["lr"] for group in saved]
        for old, new in zip(saved, optimizer.param_groups, strict=True):
            old.update({key: value for key, value in new.items() if key != "params"})
        checkpoint["lr_schedulers"] = [] if schedule is None else [schedule.state_dict()]
        self._tell(make, before, place, restored, [group["lr"] for group in saved])

    def _in_epoch(self, checkpoint: dict[str, Any]) -> int:
        """How many steps of now an epoch's batches of now were that are behind."""
        return (
            checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"] // self._batches_a_step
        )

    def _check_optimizer(self, states: list[dict[str, Any]], begun: dict[str, Any] | None) -> None:
        remedy = "start another run from its weights, --model.network.weights FILE"
        kind, name = (begun or {}).get("optimizer"), self.begun["optimizer"]
        if kind not in (None, name):
            raise MisconfigurationException(f"the checkpoint's optimizer is {kind}, the config's {name}: {remedy}")
        sizes = [len(group["params"]) for group in states[0]["param_groups"]]
        if sizes != self._sizes:
            raise MisconfigurationException(
                f"the checkpoint trains groups of {sizes} weights, the config of {self._sizes}: set "
                f"model.frozen and model.lr_multipliers as they were, or {remedy}"
            )

    def _tell(self, make: Make, before: Mapping[str, Any], place: int, then: list[Any], now: list[Any]) -> None:
        """Say what is not as the checkpoint has it."""
        begun = before.get("begun")
        if begun is None:  # of a checkpoint that did not keep them
            if not all(math.isclose(float(a), float(b), rel_tol=1e-6) for a, b in zip(then, now, strict=True)):
                rank_zero_warn(
                    f"learning rate: {_short(then)} in the checkpoint, {_short(now)} by the config, which is taken"
                )
            return
        expected = self.begun
        if before["steps"] is not None and self.steps is not None:
            expected = _settings(*make(before["steps"]))  # but for the length
            if (before["steps"], before["per_epoch"]) != (self.steps, self.per_epoch):
                rank_zero_info(
                    f"The schedule of {before['steps']} steps now has {self.steps}: the run goes on at step {place} of "
                    f"it, learning rate {_short(now)}"
                )
        changes = list(_changes(begun, expected))
        if changes:
            rank_zero_warn(f"not as in the checkpoint, and the config's is taken: {'; '.join(changes)}")


def length(trainer: Trainer) -> int:
    """The number of optimizer steps of a run; raises MisconfigurationException if it has no end."""
    steps = trainer.estimated_stepping_batches
    if math.isinf(steps) or steps < 0:
        raise MisconfigurationException("model.schedule: the run has no length; set trainer.max_epochs or max_steps")
    return int(steps)


def _settings(optimizer: Optimizer, schedule: LRScheduler | None) -> dict[str, Any]:
    """What tells optimizers and schedules apart that have not made a step, as plain values."""
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    return {
        "optimizer": type(optimizer).__name__,
        "groups": _plain(groups),
        "schedule": schedule and type(schedule).__name__,
        "state": schedule and _plain(schedule.state_dict()),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


def _advance(schedule: LRScheduler, place: int) -> None:
    """Step a schedule to a place: not all have a closed form, and those that have one round otherwise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the optimizer makes no steps meanwhile
            for _ in range(place):
                schedule.step()
    except Exception as error:  # anybody's schedule
        raise MisconfigurationException(
            f"{type(schedule).__name__} cannot be brought to step {place} ({error}); go on with the settings and the "
            "length that the run had"
        ) from error


def _changes(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What differs, by name; each name once."""
    pairs = list(zip(before["groups"], now["groups"], strict=True))
    if before["schedule"] != now["schedule"]:
        pairs.append(({"schedule": before["schedule"]}, {"schedule": now["schedule"]}))
    elif now["schedule"]:
        pairs.append((before["state"], now["state"]))
    found: dict[str, str] = {}
    for one, other in pairs:
        for name in dict.fromkeys([*one, *other]):
            if name not in _DERIVED and one.get(name) != other.get(name):
                found.setdefault(name, f"{name} {_short(one.get(name))} there, {_short(other.get(name))} here")
    yield from found.values()


_DERIVED = ("initial_lr", "base_lrs", "_last_lr")
"""Follow from the optimizer's `lr`."""


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return f"{float(value):.6g}" if isinstance(value, float | Tensor) else f"{value!s:.60}"
