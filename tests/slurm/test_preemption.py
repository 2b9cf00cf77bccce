"""Jobs that are stopped, queued again, and end as if nothing had been; and jobs of which a process dies."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from slurm.cluster import Cluster
from slurm.jobs import processes, said, start_again, submit, until

STEPS = 12
PACED = [
    *("--data.train_samples", "24", "--trainer.check_val_every_n_epoch", "1"),
    *("--attack.train", "paced.train", "--attack.evaluate", "{pgd: paced.evaluate}"),
]
"""12 steps of two processes in two epochs."""


class Run:
    """A training on two nodes that can be watched and paced, and what came of it."""

    def __init__(self, cluster: Cluster, folder: Path, wait: float, **options: Any) -> None:
        self.cluster, self.folder = cluster, folder
        for rank in (0, 1):
            self.pace(rank, wait)
        paced = {"PACE": str(folder), "PYTHONPATH": str(Path(__file__).parent)}
        self.job = submit(cluster, folder, *PACED, **paced, **options)

    def pace(self, rank: int, wait: float) -> None:
        (self.folder / f"wait.{rank}").write_text(str(wait))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true; if that takes too long, say where the job is."""
        until(condition, lambda: said(self.cluster, self.job))

    def calls(self, name: str, rank: int = 0) -> int:
        """How often the process has attacked, in all its lives."""
        file = self.folder / f"{name}.{rank}"
        return file.stat().st_size if file.exists() else 0

    def state(self) -> dict[str, Any]:
        return torch.load(self.folder / "runs" / "quickstart" / "checkpoints" / "last.ckpt", weights_only=True)

    def metrics(self) -> dict[str, Any]:
        return json.loads((self.folder / "runs" / "quickstart" / "results.json").read_text())["metrics"]

    def log(self) -> str:
        return (self.folder / "log").read_text()


def ends_as(undisturbed: "Run", run: "Run", restarts: int) -> None:
    """The run ends after so many restarts in one folder, with no step done twice, and what is left is the same."""
    job = run.cluster.wait(run.job)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", str(restarts)), f"{job}\n{run.log()}"
    (folder,) = (run.folder / "runs").iterdir()
    assert len({path.name.split("-")[-1] for path in folder.glob("wandb/offline-run-*")}) == 1
    assert [run.calls("train", rank) for rank in (0, 1)] == [STEPS, STEPS], run.log()
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        torch.testing.assert_close(run.state()[part], undisturbed.state()[part], rtol=0, atol=0)
    assert run.metrics() == undisturbed.metrics()


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(cluster, tmp_path_factory.mktemp("undisturbed"), 0)
    assert cluster.wait(run.job)["JobState"] == "COMPLETED", run.log()
    assert [run.calls("train", rank) for rank in (0, 1)] == [STEPS, STEPS]
    return run


def test_a_job_that_is_preempted_again_and_again_ends_as_the_undisturbed_one(
    cluster: Cluster, undisturbed: Run, tmp_path: Path
) -> None:
    run = Run(cluster, tmp_path, 0.3)
    run.until(lambda: run.calls("train") == 2)  # in training
    cluster.command("scancel", "--signal=USR1", run.job)
    start_again(cluster, run.job, 1)
    run.until(lambda: run.calls("evaluate") == 1)  # in validation
    cluster.command("scancel", "--signal=USR1", run.job)
    start_again(cluster, run.job, 2)
    run.pace(1, 1.5)  # the other process is behind
    run.until(lambda: run.calls("train", 1) == 8)
    cluster.command("scancel", "--signal=USR1", run.job)
    start_again(cluster, run.job, 3)
    run.pace(1, 0.3)
    run.until(lambda: run.calls("train") == 10)  # TERM, as preemption by SLURM does
    cluster.command("scontrol", "requeue", run.job)
    start_again(cluster, run.job, 4)
    ends_as(undisturbed, run, 4)


def test_as_in_a_container_where_no_process_sees_scontrol(cluster: Cluster, undisturbed: Run, tmp_path: Path) -> None:
    """The first process to leave has srun end the others, of which one is behind."""
    run = Run(cluster, tmp_path, 0.3, SADDLE_COMMAND=f"env PATH=/nowhere {sys.executable} cli.py")
    run.until(lambda: run.calls("train") == 3)
    cluster.command("scancel", "--signal=USR1", run.job)
    start_again(cluster, run.job, 1)
    run.until(lambda: run.calls("train") == 6)
    run.pace(0, 2)
    run.until(lambda: run.calls("evaluate", 1) == 2)
    cluster.command("scancel", "--batch", "--signal=USR1", run.job)
    start_again(cluster, run.job, 2)
    run.pace(0, 0.1)
    ends_as(undisturbed, run, 2)
    assert run.log().count("no scontrol here") == 2


def test_before_the_first_step_and_after_the_last(cluster: Cluster, undisturbed: Run, tmp_path: Path) -> None:
    run = Run(cluster, tmp_path, 0.1)
    run.until(lambda: len(processes(run.job)) == 2)  # Python starts
    cluster.command("scancel", "--batch", "--signal=USR1", run.job)
    start_again(cluster, run.job, 1)
    run.until(lambda: run.calls("train") == STEPS)
    before = run.calls("evaluate")
    run.pace(0, 1)
    run.until(lambda: run.calls("evaluate") > before)  # for the last time
    cluster.command("scancel", "--signal=USR1", run.job)
    start_again(cluster, run.job, 2)
    ends_as(undisturbed, run, 2)


def test_at_its_time_limit(cluster: Cluster, undisturbed: Run, tmp_path: Path) -> None:
    """Two minutes before it, says the job script, which with a limit of two minutes is soon."""
    run = Run(cluster, tmp_path, 3, options=("--nodes=2", "--time=2"))
    run.until(lambda: cluster.job(run.job)["Restarts"] == "1")
    cluster.command("scontrol", "update", f"JobId={run.job}", "TimeLimit=30")
    start_again(cluster, run.job, 1)
    assert 0 < run.calls("train") < STEPS
    for rank in (0, 1):
        run.pace(rank, 0)
    ends_as(undisturbed, run, 1)


def test_a_process_that_is_killed_ends_the_others_and_says_so(cluster: Cluster, tmp_path: Path) -> None:
    run = Run(cluster, tmp_path, 0.3)
    run.until(lambda: run.calls("train", 1) == 2)
    since = time.monotonic()
    os.kill(processes(run.job)[1], signal.SIGKILL)
    job = cluster.wait(run.job, seconds=60)
    assert time.monotonic() - since < 60
    assert (job["JobState"], job["Restarts"]) == ("FAILED", "0")
    assert "node2: task 1: Killed" in run.log()


def test_an_exception_of_one_process_ends_the_others_and_is_told(cluster: Cluster, tmp_path: Path) -> None:
    run = Run(cluster, tmp_path, 0.3)
    run.until(lambda: run.calls("train", 1) == 2)
    (tmp_path / "fail.1").touch()
    job = cluster.wait(run.job, seconds=60)
    assert (job["JobState"], job["Restarts"]) == ("FAILED", "0")
    assert "planted by the test" in run.log()


def test_a_cancelled_job_keeps_its_state_and_is_over(cluster: Cluster, tmp_path: Path) -> None:
    run = Run(cluster, tmp_path, 0.3)
    run.until(lambda: run.calls("train") == 2)
    cluster.command("scancel", run.job)
    job = cluster.wait(run.job)
    assert (job["JobState"], job["Restarts"]) == ("CANCELLED", "0")
    run.until(lambda: run.state()["global_step"] == run.calls("train", 0) == run.calls("train", 1))
