"""Jobs that are stopped, queued again, and end as if nothing had been; and jobs of which a process dies."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from slurm.cluster import Cluster
from slurm.jobs import processes, start_again, submit, until

STEPS = 12
PACED = [
    *("--data.train_samples", "24", "--trainer.check_val_every_n_epoch", "1"),
    *("--attack.train", "paced.train", "--attack.evaluate", "{pgd: paced.evaluate}"),
]
"""12 steps of two processes in two epochs."""


class Run:
    """A training on two nodes that can be watched and paced, and what came of it."""

    def __init__(self, cluster: Cluster, folder: Path, wait: float) -> None:
        self.cluster, self.folder = cluster, folder
        for rank in (0, 1):
            self.pace(rank, wait)
        self.job = submit(cluster, folder, *PACED, PACE=str(folder), PYTHONPATH=str(Path(__file__).parent))

    def pace(self, rank: int, wait: float) -> None:
        (self.folder / f"wait.{rank}").write_text(str(wait))

    def calls(self, name: str, rank: int = 0) -> int:
        """How often the process has attacked, in all its lives."""
        file = self.folder / f"{name}.{rank}"
        return file.stat().st_size if file.exists() else 0

    def state(self) -> dict[str, Any]:
        return torch.load(self.folder / "runs" / "quickstart" / "checkpoints" / "last.ckpt", weights_only=True)

    def log(self) -> str:
        return (self.folder / "log").read_text()


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
    until(lambda: run.calls("train") == 2)  # in training
    cluster.command("scancel", "--signal=USR1", run.job)
    start_again(cluster, run.job, 1)
    until(lambda: run.calls("evaluate") == 1)  # in validation
    cluster.command("scancel", "--signal=USR1", run.job)
    start_again(cluster, run.job, 2)
    run.pace(1, 1.5)  # the other process is behind
    until(lambda: run.calls("train", 1) == 8)
    cluster.command("scancel", "--signal=USR1", run.job)
    start_again(cluster, run.job, 3)
    run.pace(1, 0.3)
    until(lambda: run.calls("train") == 10)  # TERM, as preemption by SLURM does
    cluster.command("scontrol", "requeue", run.job)
    start_again(cluster, run.job, 4)
    job = cluster.wait(run.job)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "4"), run.log()
    (folder,) = (tmp_path / "runs").iterdir()
    assert len({path.name.split("-")[-1] for path in folder.glob("wandb/offline-run-*")}) == 1
    assert [run.calls("train", rank) for rank in (0, 1)] == [STEPS, STEPS], "no step is done twice"
    torch.testing.assert_close(run.state()["state_dict"], undisturbed.state()["state_dict"], rtol=0, atol=0)
    torch.testing.assert_close(run.state()["optimizer_states"], undisturbed.state()["optimizer_states"], rtol=0, atol=0)
    metrics = [
        json.loads((each.folder / "runs/quickstart/results.json").read_text())["metrics"] for each in (run, undisturbed)
    ]
    assert metrics[0] == metrics[1]


def test_a_process_that_is_killed_ends_the_others_and_says_so(cluster: Cluster, tmp_path: Path) -> None:
    run = Run(cluster, tmp_path, 0.3)
    until(lambda: run.calls("train", 1) == 2)
    since = time.monotonic()
    os.kill(processes(run.job)[1], signal.SIGKILL)
    job = cluster.wait(run.job, seconds=60)
    assert time.monotonic() - since < 60
    assert (job["JobState"], job["Restarts"]) == ("FAILED", "0")
    assert "node2: task 1: Killed" in run.log()


def test_an_exception_of_one_process_ends_the_others_and_is_told(cluster: Cluster, tmp_path: Path) -> None:
    run = Run(cluster, tmp_path, 0.3)
    until(lambda: run.calls("train", 1) == 2)
    (tmp_path / "fail.1").touch()
    job = cluster.wait(run.job, seconds=60)
    assert (job["JobState"], job["Restarts"]) == ("FAILED", "0")
    assert "planted by the test" in run.log()
