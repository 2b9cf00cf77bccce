"""What a run wrote about itself while it went on: looked at once, so that who shows it need not look."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reports.files import read_json
from reports.values import as_dict, count, number, odd, perhaps, text

FILE = "progress.json"

LIVE = ("starting", "training", "evaluating", "painting", "saving")
"""States of a run that goes on, if its process does."""

ENDED = ("finished", "stopped", "interrupted", "failed")


@dataclass
class Running:
    """What a `progress.json` holds; None where it is not known, or does not apply. Times are seconds since 1970."""

    state: str
    reason: str = ""
    command: str = ""
    pid: int | None = None
    host: str = ""
    job: str = ""
    epoch: float | None = None
    epochs: float | None = None
    step: float | None = None
    steps: float | None = None
    batch: float | None = None
    batches: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    seconds_per_evaluation: float | None = None
    written: float = 0.0
    checkpoint: dict[str, float] | None = None
    metrics: dict[str, float] = field(default_factory=dict)


def read_progress(run: Path) -> Running:
    """The `progress.json` of a run; what it holds besides is passed over.

    Raises:
        FileNotFoundError: if there is none.
        OSError: if it cannot be read.
        ValueError: if it is not what a run writes; the message says what is wrong, and not in which file.
    """
    content = as_dict(read_json(run / FILE), "it")
    state = text(content.get("state"), "state")
    if state not in LIVE + ENDED:
        odd(content.get("state"), "state", f"one of {', '.join(LIVE + ENDED)}")
    process = as_dict(content.get("process"), "process")
    return Running(
        state=state,
        reason=text(content.get("reason"), "reason"),
        command=text(content.get("command"), "command"),
        pid=None if process.get("pid") is None else int(count(process["pid"], "process.pid")),
        host=text(process.get("host"), "process.host"),
        job=text(process.get("job"), "process.job"),
        written=count(content.get("written"), "written"),
        checkpoint=_checkpoint(content.get("checkpoint")),
        metrics={name: number(each, f"metrics.{name}") for name, each in _of(content, "metrics").items()},
        **{name: perhaps(content.get(name), name) for name in _NUMBERS},
    )


_NUMBERS = (
    "epoch", "epochs", "step", "steps", "batch", "batches",
    "images_per_second", "seconds_left", "seconds_per_evaluation",
)  # fmt: skip


def _of(content: dict[str, Any], key: str) -> dict[str, Any]:
    return as_dict(content.get(key), key)


def _checkpoint(value: Any) -> dict[str, float] | None:
    found = as_dict(value, "checkpoint")
    return {key: count(found.get(key), f"checkpoint.{key}") for key in ("step", "time")} if found else None
