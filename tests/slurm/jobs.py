"""Small trainings as jobs, by the job script that users submit."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from slurm.cluster import Cluster

ROOT = Path(__file__).parent.parent.parent
SMALL = [
    *("--trainer.accelerator", "cpu", "--data.size", "16", "--data.train_samples", "8", "--data.batch_size", "2"),
    *("--data.eval_batch_size", "2", "--data.val_samples", "7", "--trainer.max_epochs", "2"),
    *("--attack.train.steps", "1", "--attack.evaluate.pgd.init_args.steps", "2", "--trainer.log_every_n_steps", "1"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
]
ONE_CORE = ("--ntasks-per-node=1", "--gpus-per-node=1", "--cpus-per-task=1")


def submit(cluster: Cluster, folder: Path, *args: object, options: tuple[str, ...] = ("--nodes=2",), **env: str) -> str:
    """Submit a training, one process on each node; returns the job's number.

    Args:
        folder: where its `log` and `runs/` come to lie.
        args: of `cli.py fit`, besides those that make it small.
        options: of sbatch, besides those that fit it to the cluster.
        env: variables of the job's environment.
    """
    fixed = (*ONE_CORE, f"--output={folder}/log", f"--chdir={ROOT}", *options)
    words = ["sbatch", "--parsable", *fixed, ROOT / "slurm" / "train.sbatch", "quickstart.yaml", *SMALL]
    quiet = {"SADDLE_COMMAND": f"{sys.executable} cli.py", "WANDB_SILENT": "true", "OMP_NUM_THREADS": "1"}
    return cluster.command(*words, "--runs", folder / "runs", *args, **quiet | env)


def processes(job: str) -> dict[int, int]:
    """The process id of each rank of a job, on all nodes: what srun started, not what that has started."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            own = dict(word.partition("=")[::2] for word in file.read_text().split("\0"))
            parent = int(file.with_name("stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        if own.get("SLURM_JOB_ID") == job and "SLURM_STEP_ID" in own:
            found[int(file.parent.name)] = parent, int(own["SLURM_PROCID"])
    return {rank: number for number, (parent, rank) in found.items() if parent not in found}


def start_again(cluster: Cluster, job: str, restarts: int) -> None:
    """Wait until a job is queued again for the so-manieth time, and start it at once; SLURM would take two minutes.

    It takes them for a reason: a job that starts before all of its last life is gone has its script removed.
    """
    until(lambda: cluster.job(job)["Restarts"] == str(restarts), lambda: said(cluster, job))
    cluster.wait(job, "PENDING", seconds=60)
    until(lambda: not any(f"[{cluster.job(job)['JobId']}." in line for line in _command_lines()))
    cluster.command("scontrol", "update", f"JobId={job}", "StartTime=now")


def said(cluster: Cluster, job: str) -> str:
    """What SLURM knows of a job, and its log."""
    known = cluster.job(job)
    return f"{known}\n{Path(known['StdOut']).read_text()}"


def until(condition: Callable[[], object], otherwise: Callable[[], str] = str, seconds: float = 60) -> None:
    """Wait for something to become true; an assertion fails, saying something, if it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {otherwise()}"
        time.sleep(0.05)


def _command_lines() -> list[str]:
    """Of all processes; the daemon of a step bears its number there."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            lines.append(file.read_text(errors="replace"))
    return lines
