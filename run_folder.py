"""The folder of a run, `runs/<name>/`: never overwritten, found again to resume, one for all processes.

Nothing is written outside it: loggers and checkpoints have their places here.
"""

import json
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.utilities.rank_zero import _get_rank

from reports.files import write_whole

_SHARED = "SADDLE_RUN"  # how the first process tells those that it starts

MARK = ".launch"
"""How it tells those that it did not start, and how a job finds the run that it began."""


class RunFolderError(OSError):
    """A run that cannot have a folder, or a first process that made none that this one can see."""


def run_folder(runs: Path, name: str, resume: Callable[[Path], bool]) -> Path:
    """Choose the folder of this run; for the first process of a launch, which shares it with the others.

    Args:
        runs: the folder of all runs.
        name: the run's name; if it is taken, the next run is called `<name>-2`.
        resume: whether to go on in a run of that name instead; the newest of which this is true is chosen.

    Raises:
        RunFolderError: if the name is none for a folder.
    """
    check_name(name)
    free = _numbered(runs, name)[-1]
    folder = next(filter(resume, reversed(runs_named(runs, name))), free)
    first = not runs.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        if first and runs.is_dir():
            runs.rmdir()
        raise
    return folder


def is_first_process() -> bool:
    """Whether this process is the first of its launch, which decides for all."""
    return (_get_rank() or 0) == 0


def share(folder: Path, checkpoint: str | None) -> None:
    """Have the other processes of this launch find the folder, and the checkpoint that all go on from."""
    told = json.dumps({"folder": str(folder), "checkpoint": checkpoint, "launch": _launch(), "job": slurm_job()})
    os.environ[_SHARED] = told
    if _launch():
        write_whole(folder / MARK, told)


def shared(runs: Path) -> tuple[Path, str | None]:
    """What the first process has shared: the run's folder, and the checkpoint.

    Raises:
        RunFolderError: if it shares nothing.
    """
    told = _await_first_process(runs) if _launch() or _SHARED not in os.environ else json.loads(os.environ[_SHARED])
    return Path(told["folder"]), told["checkpoint"]


def slurm_job() -> str | None:
    """The SLURM job that this process belongs to; tasks of an array are jobs of their own."""
    return os.environ.get("SLURM_JOB_ID")


def run_of_job(runs: Path, name: str) -> Path | None:
    """The run of that name that this job began, if SLURM has requeued it since."""
    if not int(os.environ.get("SLURM_RESTART_COUNT") or 0):
        return None
    marks = {run: _mark(run) for run in runs_named(runs, name)}
    return next((run for run, mark in reversed(marks.items()) if mark.get("job") == slurm_job()), None)


def check_name(name: str) -> None:
    """Raises RunFolderError if a run cannot be called so: it would leave the folder of all runs."""
    if name in ("", ".", "..") or not name.isprintable() or {"/", os.sep} & set(name):
        raise RunFolderError(f"--name {name!r}: give the name of a folder, without / and control characters")


def is_new(folder: Path) -> bool:
    """Whether a folder is this process's to remove again: it is of rank 0, and nothing is in it yet."""
    return is_first_process() and all(path.name == MARK for path in folder.iterdir())


def holds_work(run: Path) -> bool:
    """Whether a run has something to keep or to go on from, such as a checkpoint, or what was measured of a sample."""
    kept = ("checkpoints/*.ckpt", "predictions/*", "results.json")
    records = run.glob("records/*.jsonl")
    return any(any(run.glob(name)) for name in kept) or any(path.read_text().strip() for path in records)


def runs_named(runs: Path, name: str) -> list[Path]:
    """The runs of that name, oldest first."""
    return [folder for folder in _numbered(runs, name)[:-1] if folder.is_dir()]


def newest_run(runs: Path, name: str) -> Path | None:
    """The newest run of that name."""
    return next(reversed(runs_named(runs, name)), None)


def _numbered(runs: Path, name: str) -> list[Path]:
    """`<name>`, `<name>-2`, ... up to the first that does not exist; a file, or a link to nowhere, does."""
    folders = [runs / name]
    while os.path.lexists(folders[-1]):
        folders.append(runs / f"{name}-{len(folders) + 1}")
    return folders


def place_logger(logger: Any, folder: Path) -> None:
    """Have a logger of a config write into the run's folder, under the run's name, and go on where it stopped."""
    options = logger.get("init_args") if isinstance(logger, Namespace) else None
    if options is None:
        return
    if "save_dir" in options and not Path(options.save_dir or "").is_absolute():
        options.save_dir = str(folder / (options.save_dir or ""))
    if logger.class_path.endswith("WandbLogger"):
        options.name = options.get("name") or folder.name
        options.id = _wandb_id(folder, options.get("id"))
        options.resume = options.get("resume") or "allow"  # the parser says null in place of Lightning's own default


def _wandb_id(folder: Path, given: str | None) -> str:
    """One id per run folder, so that a resumed run goes on in the same dashboard."""
    path = folder / "wandb" / "id"
    found = path.read_text(errors="replace").strip() if path.is_file() else ""
    if not given and re.fullmatch(r"[\w.-]+", found):
        return found
    write_whole(path, given or secrets.token_hex(4))
    return path.read_text()


def place_checkpoints(callback: Any, folder: Path) -> None:
    """Have a callback of a config that has a place for its checkpoints keep them in the run's folder."""
    options = callback.get("init_args") if isinstance(callback, Namespace) else None
    if options is not None and "dirpath" in options:  # an absolute one stays
        options.dirpath = str(folder.absolute() / (options.dirpath or "checkpoints"))


def _launch() -> str:
    """What tells this launch of several processes from every other: empty if a process starts the others itself."""
    env = os.environ
    if "SLURM_PROCID" in env:
        return "-".join(env.get(f"SLURM_{key}", "") for key in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
    if "TORCHELASTIC_RUN_ID" in env:
        agent = str(os.getppid()) if env.get("GROUP_WORLD_SIZE", "1") == "1" else ""  # on each node another
        return "-".join([env["TORCHELASTIC_RUN_ID"], env.get("TORCHELASTIC_RESTART_COUNT", ""), agent])
    return ""


def _mark(run: Path) -> dict[str, Any]:
    try:
        mark = json.loads((run / MARK).read_text())
    except (OSError, ValueError):
        return {}
    return mark if isinstance(mark, dict) else {}


def _await_first_process(runs: Path, seconds: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path in runs.glob(f"*/{MARK}"):
            if (mark := _mark(path.parent)).get("launch") == _launch():
                return {**mark, "folder": str(path.parent)}
        time.sleep(0.2)
    raise RunFolderError(
        f"{runs.resolve()}: the first process made no run folder here; all nodes must share this folder"
    )
