"""The job script on two nodes, where nothing goes wrong."""

import json
from pathlib import Path

from slurm.cluster import Cluster
from slurm.jobs import submit


def test_two_nodes_train_one_network_in_one_folder(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.wait(submit(cluster, tmp_path))
    log = (tmp_path / "log").read_text()
    assert (job["JobState"], job["NodeList"], job["Restarts"]) == ("COMPLETED", "node[1-2]", "0"), log
    (run,) = (tmp_path / "runs").iterdir()
    results = json.loads((run / "results.json").read_text())
    assert (run.name, results["epochs"], results["steps"]) == ("quickstart", 2, 4), "8 samples, 2 nodes x batch 2"
    assert results["metrics"]["pgd"]["samples"] == 7
    assert (run / "checkpoints" / "last.ckpt").is_file() and len(list(run.glob("wandb/offline-run-*"))) == 1
