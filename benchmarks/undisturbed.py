"""Small runs for `kill.py`, with all that a run can have; how one is started, and how two are compared."""

import atexit
import json
import os
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from trouble import SIGNALS, TOLD

import cli

CLI = Path(cli.__file__).resolve()
EPOCHS, SAMPLES, BATCH = 3, 24, 4
CALLBACKS = [
    {
        "class_path": "Inpainting",
        "init_args": {
            "constraint": {"class_path": "L2", "init_args": {"eps": 5}},
            "steps": 4,
            "step_size": 0.25,
            "size": 6,
            "samples": 2,
        },
    },
    {"class_path": "OverfittingGuard", "init_args": {"drop": 0.9}},
    {"class_path": "EMA", "init_args": {"decay": 0.9}},
    {"class_path": "trouble.Trouble"},
]
ARGS = [
    *("--config", "quickstart.yaml", "--data", "trouble.AugmentedShapes", "--data.size", "16"),
    *("--data.train_samples", str(SAMPLES), "--data.val_samples", "5", "--data.eval_batch_size", "2"),
    *("--attack.train.steps", "2", "--attack.evaluate.pgd.init_args.steps", "3", "--attack.fraction", "0.8"),
    *("--attack.warm_up", "1.5", "--trainer.max_epochs", str(EPOCHS), "--trainer.check_val_every_n_epoch", "1"),
    *("--trainer.accelerator", "cpu", "--trainer.logger", "false", "--trainer.enable_progress_bar", "false"),
    *("--trainer.enable_model_summary", "false", "--trainer.callbacks", json.dumps(CALLBACKS)),
]
ENDS_WITHIN = 60.0
"""Seconds after which processes that still run, though one was told to end or has died, count as hanging."""


@dataclass(frozen=True)
class Setting:
    """What else a run may be like; `elsewhere` says that temporary files lie on another file system than the run."""

    processes: int = 1
    workers: int = 0
    accumulate: int = 1
    every_step: bool = False
    elsewhere: bool = False

    def args(self) -> list[str]:
        return [
            *ARGS,
            *("--data.batch_size", str(BATCH // self.processes), "--data.num_workers", str(self.workers)),
            *("--trainer.accumulate_grad_batches", str(self.accumulate)),
            *(["--checkpoints.every_steps", "1"] if self.every_step else []),
            *(["--trainer.devices", "2", "--trainer.strategy", "ddp"] if self.processes > 1 else []),
        ]

    def __str__(self) -> str:
        processes = "one process" if self.processes == 1 else "two processes"
        kept = "checkpoints each step" if self.every_step else "usual checkpoints"
        return f"{processes}, {self.workers} workers, accumulation {self.accumulate}, {kept}"


@dataclass
class End:
    """How a launch ended: its exit status, below 0 that of a signal; all that was printed; whether the trouble came,
    and how many seconds later the last of its processes was gone, None if some hung."""

    status: int
    output: str
    came: bool
    seconds: float | None


def launch(folder: Path, setting: Setting, trouble: dict[str, Any] | None = None) -> End:
    """Start `cli.py fit` in a folder, or go on with the run there, and wait until all of its processes are gone.

    The first process is a fork of this one: its imports are done, and it is a process like any other. A second one is
    started by Lightning as ever. A trouble with `after`, seconds, comes from outside.
    """
    mark = folder / "mark"
    mark.unlink(missing_ok=True)
    reading, writing = os.pipe()
    begun = time.monotonic()
    leader = os.fork()
    if leader == 0:
        os.close(reading)
        _run(folder, setting, writing, {**trouble, "mark": str(mark)} if trouble and "place" in trouble else {})
    os.close(writing)
    deadline = begun + 150
    came: float | None = None
    output = b""
    hanging = False
    while True:  # until nobody holds the other end of the pipe
        ready = select.select([reading], [], [], 0.05)[0]
        if ready and not (part := os.read(reading, 1 << 16)):
            break
        output += part if ready else b""
        now = time.monotonic()
        if trouble and came is None and mark.exists():
            came = now
        elif trouble and came is None and "after" in trouble and now - begun > trouble["after"]:
            came = now
            (os.killpg if trouble["rank"] is None else os.kill)(leader, SIGNALS[trouble["kind"]])
        if now > deadline or (came and now - came > ENDS_WITHIN):
            hanging = True
            os.killpg(leader, signal.SIGKILL)
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1])
    arrived = came is not None or mark.exists()
    seconds = None if hanging else time.monotonic() - came if came else 0.0
    return End(status, output.decode(errors="replace"), arrived, seconds)


def _run(folder: Path, setting: Setting, output: int, trouble: dict[str, Any]) -> None:
    """In the fork: be `cli.py fit`."""
    status: Any = 1
    try:
        os.setsid()
        os.chdir(folder)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.environ |= {TOLD: json.dumps(trouble), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
        if setting.elsewhere:
            os.environ["TMPDIR"] = str(elsewhere(folder) or folder)
        sys.argv = [str(CLI), "fit", *setting.args(), "--ckpt_path", "last"]
        cli.main()
        status = 0
    except SystemExit as error:
        status = error.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status if isinstance(status, int) else 1)


def elsewhere(folder: Path) -> Path | None:
    """A place for temporary files on another file system than a folder's, if this machine has one."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and memory.stat().st_dev != folder.stat().st_dev else None


def differences(folder: Path, other: Path) -> list[str]:
    """In what the run of a folder differs from the other: weights, averaged weights, optimizer, schedule, metrics."""
    runs = folder / "runs" / "quickstart", other / "runs" / "quickstart"
    kept = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in runs]
    parts = ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "callbacks", "epoch")
    found = [part for part in (*parts, "global_step") if not _equal(*(content[part] for content in kept))]
    results = [json.loads((run / "results.json").read_text()) for run in runs]
    for part in ("metrics", "synthesis", "stopped", "epochs", "steps"):
        if results[0][part] != results[1][part]:
            found.append(f"results.json: {part}")
    pictures = [
        {path.relative_to(run): path.read_bytes() for path in sorted(run.glob("gallery/**/*.png"))} for run in runs
    ]
    names = [run.name for run in (folder / "runs").iterdir()]
    return found + ["pictures"] * (pictures[0] != pictures[1]) + ["folders"] * (names != ["quickstart"])


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
