"""The job script on two nodes, and what it does before and after training."""

import json
import sys
import tarfile
from pathlib import Path

import pytest
from slurm.cluster import Cluster
from slurm.jobs import processes, start_again, submit, until


def test_two_nodes_train_one_network_in_one_folder(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.wait(submit(cluster, tmp_path))
    log = (tmp_path / "log").read_text()
    assert (job["JobState"], job["NodeList"], job["Restarts"]) == ("COMPLETED", "node[1-2]", "0"), log
    (run,) = (tmp_path / "runs").iterdir()
    results = json.loads((run / "results.json").read_text())
    assert (run.name, results["epochs"], results["steps"]) == ("quickstart", 2, 4), "8 samples, 2 nodes x batch 2"
    assert results["metrics"]["pgd"]["samples"] == 7
    assert (run / "checkpoints" / "last.ckpt").is_file() and len(list(run.glob("wandb/offline-run-*"))) == 1


def test_data_are_unpacked_on_each_node(cluster: Cluster, tmp_path: Path) -> None:
    """/dev/shm is each node's own here."""
    (tmp_path / "hello").write_text("unpacked\n")
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        archive.add(tmp_path / "hello", "hello")
    (tmp_path / "show").write_text('root=${@: -1}; echo "$(hostname) $(cat "$root/hello") ${root%-*}"')
    show = {"SADDLE_COMMAND": f"bash {tmp_path}/show", "TMPDIR": "/dev/shm", "SADDLE_TAR": f"{tmp_path}/data.tar"}
    assert cluster.wait(submit(cluster, tmp_path, **show))["JobState"] == "COMPLETED"
    said = sorted((tmp_path / "log").read_text().splitlines())
    assert said == [f"node{number} unpacked /dev/shm/saddle" for number in (1, 2)]
    left = cluster.command("srun", "--nodes=2", "--ntasks-per-node=1", "ls", "/dev/shm")
    assert "saddle" not in left, "they are removed again"


@pytest.mark.parametrize("ending", ["exit 138", "kill -USR1 $$"])
def test_the_script_queues_again_what_usr1_has_ended(cluster: Cluster, tmp_path: Path, ending: str) -> None:
    """Where the processes do not see scontrol, and where they had not begun to listen."""
    (tmp_path / "train").write_text(f'[ -n "${{SLURM_RESTART_COUNT:-}}" ] || {ending}; echo goes on')
    number = submit(cluster, tmp_path, options=("--nodes=1",), SADDLE_COMMAND=f"sh {tmp_path}/train")
    start_again(cluster, number, 1)
    assert cluster.wait(number)["JobState"] == "COMPLETED"
    assert (tmp_path / "log").read_text().endswith("goes on\n")


@pytest.mark.parametrize("status", [137, 143])
def test_a_job_that_was_told_of_its_end_is_queued_again_however_its_processes_end(
    cluster: Cluster, tmp_path: Path, status: int
) -> None:
    """One that leaves first has srun end the others."""
    forever = 'while [ -z "$SLURM_RESTART_COUNT" ]; do sleep 0.1; done'
    (tmp_path / "train").write_text(f"trap 'exit {status}' USR1; touch {tmp_path}/$SLURM_PROCID; {forever}")
    number = submit(cluster, tmp_path, SADDLE_COMMAND=f"sh {tmp_path}/train")
    until(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists())
    cluster.command("scancel", "--batch", "--signal=USR1", number)
    start_again(cluster, number, 1)
    assert cluster.wait(number)["JobState"] == "COMPLETED"


def test_of_an_array_only_the_task_that_was_ended_is_queued_again(cluster: Cluster, tmp_path: Path) -> None:
    """The last task bears the array's own number."""
    (tmp_path / "train").write_text('[ -n "$SLURM_RESTART_COUNT" ] || { sleep 3 & wait; }')
    options = ("--nodes=1", "--array=0-1")
    number = submit(cluster, tmp_path, options=options, SADDLE_COMMAND=f"sh {tmp_path}/train")
    cluster.wait(f"{number}_1", "RUNNING")
    until(lambda: len(processes(number)) == 1)
    cluster.command("scancel", "--batch", "--signal=USR1", f"{number}_1")
    start_again(cluster, f"{number}_1", 1)
    jobs = [cluster.wait(f"{number}_{task}") for task in (0, 1)]
    assert [(job["JobState"], job["Restarts"]) for job in jobs] == [("COMPLETED", "0"), ("COMPLETED", "1")]


@pytest.mark.parametrize("status", [2, 143])
def test_what_has_failed_or_was_cancelled_is_not_queued_again(cluster: Cluster, tmp_path: Path, status: int) -> None:
    job = cluster.wait(
        submit(cluster, tmp_path, options=("--nodes=1",), SADDLE_COMMAND=f"{sys.executable} -c exit({status})")
    )
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", f"{status}:0", "0")
