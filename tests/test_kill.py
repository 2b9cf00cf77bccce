"""A short version of `benchmarks/kill.py`: runs that are killed and gone on with end as the undisturbed ones."""

import re
import subprocess
import sys
from pathlib import Path

KILL = Path(__file__).parent.parent / "benchmarks" / "kill.py"


def test_runs_that_are_killed_end_as_undisturbed_ones(tmp_path):
    """Half of them in two processes; where they differ, the output says in what."""
    run = subprocess.run(
        [sys.executable, KILL, "--kills", "8", "--folder", tmp_path], capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "ratio 1.000", run.stdout
    assert sum(map(int, re.findall(r"\d/(\d)", run.stdout))) == 8
