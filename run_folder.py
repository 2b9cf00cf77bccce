"""The folder of a run, `runs/<name>/`: never overwritten, found again to resume, one for all processes."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from lightning.fabric.utilities.rank_zero import _get_rank

_SHARED = "SADDLE_RUN_FOLDER"  # how rank 0 tells the processes it starts


class RunFolderError(TimeoutError):
    """The first process made no folder that this one can see."""


def run_folder(runs: Path, name: str, resume: Callable[[Path], bool]) -> Path:
    """Choose the folder of this run; all processes of a launch get the same.

    Args:
        runs: the folder of all runs.
        name: the run's name; if it is taken, the next run is called `<name>-2`.
        resume: whether to go on in a run of that name instead; the newest of which this is true is chosen.
    """
    if (_get_rank() or 0) == 0:
        *taken, free = _numbered(runs, name)
        folder = next(filter(resume, reversed(taken)), free)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[_SHARED] = str(folder)
        if _launch():
            (folder / ".launch").write_text(_launch())
        return folder
    if _SHARED in os.environ:
        return Path(os.environ[_SHARED])
    return _await_rank_zero(runs)


def newest_run(runs: Path, name: str) -> Path | None:
    """The newest run of that name."""
    *taken, _ = _numbered(runs, name)
    return taken[-1] if taken else None


def _numbered(runs: Path, name: str) -> list[Path]:
    """`<name>`, `<name>-2`, ... up to the first that does not exist."""
    folders = [runs / name]
    while folders[-1].exists():
        folders.append(runs / f"{name}-{len(folders) + 1}")
    return folders


def _launch() -> str:
    """What tells this launch of several processes from every other: empty if a process starts the others itself."""
    env = os.environ
    if "SLURM_PROCID" in env:
        return "-".join(env.get(f"SLURM_{key}", "") for key in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
    if "TORCHELASTIC_RUN_ID" in env:
        return "-".join([env["TORCHELASTIC_RUN_ID"], env.get("TORCHELASTIC_RESTART_COUNT", ""), str(os.getppid())])
    return ""


def _await_rank_zero(runs: Path, seconds: float = 120) -> Path:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for mark in runs.glob("*/.launch"):
            if mark.read_text() == _launch():
                return mark.parent
        time.sleep(0.2)
    raise RunFolderError(
        f"{runs.resolve()}: the first process made no run folder here; all nodes must share this folder"
    )
