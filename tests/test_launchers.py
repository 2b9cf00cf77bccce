"""torchrun starts the processes, as an alternative to our own way (tests/test_ddp.py) and to srun (tests/slurm/)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from test_ddp import ARGS

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
CLI = str(Path(__file__).parent.parent / "cli.py")
FIT = [CLI, "fit", *ARGS, "--data.val_samples", "7", "--paint", "false"]


def start(folder, *command, **env):
    """A launcher that runs in a folder."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true", **env}
    return subprocess.Popen([*TORCHRUN, *command], cwd=folder, env=env, text=True, stderr=subprocess.PIPE)


def finish(*processes):
    """What they said; none may take long, or fail."""
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert not any(process.returncode for process in processes), said[0][-3000:]
    return said


def results(folder):
    (run,) = (folder / "runs").iterdir()
    assert len(list(run.glob("wandb/offline-run-*"))) == 1
    return json.loads((run / "results.json").read_text())


def test_two_processes_on_one_machine(tmp_path):
    """The line of docs/cluster.md."""
    finish(start(tmp_path, "--standalone", "--nproc_per_node", "2", *FIT, "--trainer.devices", "2"))
    found = results(tmp_path)
    assert (found["steps"], found["metrics"]["pgd"]["samples"]) == (4, 7)


def test_two_agents_as_on_two_machines(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    meeting = ["--rdzv_backend", "c10d", "--rdzv_endpoint", f"127.0.0.1:{port}", "--rdzv_id", str(port)]
    nodes = ["--nnodes", "2", "--nproc_per_node", "1", *meeting, *FIT, "--trainer.num_nodes", "2"]
    finish(*(start(tmp_path, *nodes, "--trainer.devices", "1") for _ in range(2)))
    assert results(tmp_path)["steps"] == 4


DYING = """
import os
import signal
from pathlib import Path

from attacks import PGD, Linf


def once(network, image, label, seed=None, region=None):
    second_epoch = Path("runs/quickstart/checkpoints/last.ckpt").exists()
    if os.environ["RANK"] == "1" and second_epoch and not Path("died").exists():
        Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return PGD(Linf(0.06), steps=1, step_size=0.02)(network, image, label, seed, region)
"""
"""An attack during which the second process dies in the second epoch, once."""


def test_torchrun_starts_them_again_and_they_go_on(tmp_path):
    """The lives of a launch share one store if it is not told otherwise, and gloo finds the addresses of the dead."""
    (tmp_path / "dying.py").write_text(DYING)
    two = ["--standalone", "--nproc_per_node", "2", "--max_restarts", "1", *FIT, "--trainer.devices", "2"]
    env = {"PYTHONPATH": str(tmp_path), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    (said,) = finish(start(tmp_path, *two, "--ckpt_path", "last", "--attack.train", "dying.once", **env))
    assert (tmp_path / "died").exists() and "exitcode: -9" in said
    (run,) = (tmp_path / "runs").iterdir()
    found = json.loads((run / "results.json").read_text())
    assert (found["epochs"], found["steps"]) == (2, 4)
