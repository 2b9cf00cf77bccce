"""A job that ends before its run does: what is said of it, and how SLURM is asked to start it again."""

import os
import shutil
import signal
import subprocess
import sys

from callbacks.interruption import Stopped
from run_folder import is_first_process, slurm_job

GO_ON = "to go on, call it again: fit with --ckpt_path last, evaluations as they were"


def tell(stopped: Stopped) -> None:
    """Say what comes next; after the warning of a time limit, SIGUSR1, that is done under SLURM."""
    if not is_first_process():
        return
    job = slurm_job()
    if stopped.signum is None:
        _say(f"trainer.max_time is over; {GO_ON}")
    elif stopped.signum != signal.SIGUSR1 or job is None:
        _say(f"ended by {signal.Signals(stopped.signum).name}; {GO_ON}")
    elif shutil.which("scontrol") is None:  # in a container, as a rule
        _say(f"job {job} is to be requeued by its script, which sees exit status {stopped.code}: no scontrol here")
    else:
        array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
        job = f"{array}_{task}" if array else job  # an array's task by its own number may mean all of them
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        why = " ".join(done.stderr.split())
        _say(f"job {job} could not be requeued: {why}" if done.returncode else f"job {job} is requeued and will go on")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
