"""The sweep on one machine, shrunken. As an array of SLURM: tests/slurm/test_sweep.py."""

import os
import subprocess
from pathlib import Path

from warm_cli import saddle_command

ROOT = Path(__file__).parent.parent.parent
SMALL = [
    *("--trainer.accelerator", "cpu", "--data.size", "16", "--data.train_samples", "4", "--data.val_samples", "4"),
    *("--data.batch_size", "2", "--data.num_workers", "0", "--trainer.max_epochs", "2", "--paint", "false"),
    *(
        "--attack.train.steps",
        "1",
        "--attack.evaluate.pgd.init_args.steps",
        "1",
        "--trainer.enable_progress_bar",
        "false",
    ),
]


def sweep(folder, seeds):
    command = {"SADDLE_COMMAND": saddle_command(), "EPS": "0.02", "SEEDS": seeds}
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true", **command}
    script = ROOT / "experiments" / "eps_by_seed.sh"
    return subprocess.check_output([script, *SMALL], cwd=folder, env=env, text=True)


def test_a_run_for_each_row_and_their_table_and_again_only_what_is_missing(tmp_path):
    runs = tmp_path / "runs" / "eps_by_seed"
    sweep(tmp_path, "0")
    results = runs / "eps0.02_seed0" / "results.json"
    before = results.read_bytes()
    output = sweep(tmp_path, "0 1")
    assert sorted(path.name for path in runs.iterdir()) == ["eps0.02_seed0", "eps0.02_seed1", "report.html"]
    assert output.count("nothing is changed") == 1 and results.read_bytes() == before
    assert "not the same seed: 0 in eps0.02_seed0, 1 in eps0.02_seed1" in output
