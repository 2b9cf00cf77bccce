"""`status`: what runs, where each is, what it measured last, and how long it takes still. Reads the disk alone."""

import argparse
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from reports.files import ReportError
from reports.progress import FILE, LIVE, Running, read_progress
from reports.results import read_results
from reports.table import FORMATS, say
from reports.wording import printable, short

SILENT = 120.0
"""Seconds after which a run is silent: it writes every 15, but a batch of an evaluation may take minutes."""

HEADER = ("run", "state", "epoch", "step", "last metrics", "last checkpoint", "left")


@dataclass
class Row:
    """A run in words, under `HEADER`."""

    run: str
    state: str
    epoch: str = ""
    step: str = ""
    metrics: str = ""
    checkpoint: str = ""
    left: str = ""


def main(args: list[str]) -> None:
    """`status [RUN ...]`: print a row for each run; without one, for all below `runs/`.

    A run that has not written for two minutes is silent; if its process was on this machine and is not there any more,
    it has died. What cannot be read is said in the run's row.

    Raises:
        ReportError: if a folder that is named is no run.
    """
    parser = argparse.ArgumentParser("cli.py status", description="Says what runs are doing, from what they wrote.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a run's folder; by default all below --runs")
    parser.add_argument("--runs", dest="folder", type=Path, default=Path("runs"), help="the folder of all runs")
    options = parser.parse_args(args)
    runs = options.runs or _runs_in(options.folder)
    for run in options.runs:
        if not _is_run(run):
            raise ReportError(f"{run}: no folder of a run: it has no {FILE}, results.json, config.yaml or checkpoints")
    if not runs:
        say(f"no runs in {options.folder}")
        return
    now = time.time()
    rows = [row_of(run, now) for run in runs]
    columns = list(zip(HEADER, *(vars(row).values() for row in rows), strict=True))
    columns = [column for i, column in enumerate(columns) if i < 2 or any(column[1:])]
    header, *cells = zip(*columns, strict=True)
    say(tabulate(cells, header, FORMATS["terminal"], disable_numparse=True))


def row_of(run: Path, now: float) -> Row:
    """What can be said of a run at a time, in seconds since 1970."""
    name = printable(run.name or str(run))
    try:
        running = read_progress(run)
    except FileNotFoundError:
        return _without_progress(run, name, now)
    except (OSError, ValueError) as error:
        return Row(name, short(f"{FILE} cannot be read: {getattr(error, 'strerror', None) or error}"))
    left = None if running.state not in LIVE else running.seconds_left
    return Row(
        name,
        state_of(running, now),
        epoch=_part(running.epoch, running.epochs),
        step=_part(running.step, running.steps),
        metrics=_metrics(running.metrics),
        checkpoint=_saved(run, running, now),
        left="" if left is None else duration(left - (now - running.written)),
    )


def state_of(running: Running, now: float) -> str:
    """The state in words: what it does and how fast, or how it ended, or that nothing was heard of it."""
    if running.state not in LIVE:
        why = f": {running.reason}" if running.reason else ""
        return printable(f"{running.state} {duration(now - running.written)} ago{why}")
    silent = now - running.written
    if silent > SILENT and _is_gone(running):
        return f"died {duration(silent)} ago while {running.state}"
    parts = [running.state]
    if running.batches:
        parts[0] += f" (batch {_part(running.batch, running.batches)})"
    if silent > SILENT:
        parts.append(f"silent for {duration(silent)}")
    elif running.images_per_second:
        parts.append(f"{running.images_per_second:.3g} images/s")
    if running.job:
        parts.append(f"job {short(running.job)}")
    return ", ".join(parts)


def _is_gone(running: Running) -> bool:
    """Whether the process is known not to be there any more: only of those on this machine that can be told."""
    if running.pid is None or not 0 < running.pid < 2**31 or running.host != socket.gethostname():
        return False
    try:
        os.kill(running.pid, 0)  # sends nothing
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's
        pass
    return False


def _without_progress(run: Path, name: str, now: float) -> Row:
    """Of a run of an older version, or of one that never began."""
    row = Row(name, "not begun", checkpoint=_saved(run, None, now))
    try:
        found = read_results(run)
    except ReportError:
        if os.path.lexists(run / "results.json"):
            row.state = "results.json cannot be read"
        return row
    row.state = f"finished ({short(found.command)})" if found.command else "finished"
    values = {
        f"{name}/{key}": getattr(each, key) for name, each in found.metrics.items() for key in ("miou", "accuracy")
    }
    row.metrics = _metrics({name: value for name, value in values.items() if value is not None})
    return row


def _metrics(metrics: dict[str, float]) -> str:
    """mIoU of every version of the images, or accuracy where there is none."""
    for key, title in (("miou", "mIoU"), ("accuracy", "accuracy")):
        parts = {tuple(name.split("/")[-2:]): value for name, value in metrics.items()}
        found = {part[0]: value for part, value in parts.items() if part[1:] == (key,) and 0 <= value <= 1}
        if found:
            return f"{title}: " + ", ".join(f"{short(name)} {100 * each:.1f} %" for name, each in found.items())
    return ""


def _saved(run: Path, running: Running | None, now: float) -> str:
    """How old the last checkpoint is that lies there, and of which step, if that is told."""
    try:
        age = now - os.stat(run / "checkpoints" / "last.ckpt").st_mtime
    except (OSError, ValueError):
        return ""
    told = running.checkpoint if running else None
    of = f" (step {told['step']:.0f})" if told and abs(now - told["time"] - age) < SILENT else ""
    return f"{duration(age)} ago{of}"


def _part(value: float | None, of: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if of is None else f"{value:.0f} of {of:.0f}"


def duration(seconds: float) -> str:
    """A time span in one or two units: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _is_run(path: Path) -> bool:
    names = (FILE, "results.json", "config.yaml", "checkpoints")
    return any(os.path.lexists(path / name) for name in names)


def _runs_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if _is_run(path))
    except OSError as error:
        raise ReportError(
            f"{folder}: {error.strerror}; name a run's folder, or the folder of all with --runs"
        ) from None
