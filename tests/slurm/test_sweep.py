"""A sweep as an array: the script of `experiments/`, a task for each run."""

import json
import sys
from pathlib import Path

from slurm.cluster import Cluster
from slurm.jobs import ROOT, SMALL


def test_a_task_for_each_row(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "slurm").symlink_to(ROOT / "slurm")
    fixed = ["--array=1-2", "--gpus-per-node=1", "--cpus-per-task=1", f"--chdir={tmp_path}"]
    own = {"SADDLE_COMMAND": f"{sys.executable} {ROOT}/cli.py", "EPS": "0.02 0.04", "SEEDS": "0 1"}
    words = ["sbatch", "--parsable", *fixed, ROOT / "experiments" / "eps_by_seed.sh", *SMALL, "--paint", "false"]
    number = cluster.command(*words, WANDB_SILENT="true", OMP_NUM_THREADS="1", **own)
    for task in (1, 2):
        job = cluster.wait(f"{number}_{task}")
        assert job["JobState"] == "COMPLETED", (tmp_path / f"slurm-eps_by_seed-{task}.log").read_text()
    runs = {
        run.name: json.loads((run / "results.json").read_text())
        for run in (tmp_path / "runs" / "eps_by_seed").iterdir()
    }
    assert sorted(runs) == ["eps0.02_seed1", "eps0.04_seed0"]
