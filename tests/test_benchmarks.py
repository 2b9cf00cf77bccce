"""The benchmarks run; what they measure is for people to judge, on a quiet machine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize(
    "command",
    ["attack_step", "commands", "data", "ddp", "evaluation", "gpu --device cpu", "gradient_step", "synthesis"],
)
def test_a_benchmark_ends_with_its_ratio(command):
    name, *options = command.split()
    run = subprocess.run(
        [sys.executable, BENCHMARKS / f"{name}.py", "--quick", *options], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(r"ratio \d+\.\d+", run.stdout.splitlines()[-1])


def test_start_up_tells_time_and_memory():
    run = subprocess.run([sys.executable, BENCHMARKS / "start_up.py", "--quick"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert re.search(r"^first process: \d+ images, [\d.]+ s, \d+ MiB", run.stdout, re.M)
    assert re.search(r"^two workers grew by -?\d+ and -?\d+ MiB", run.stdout, re.M)
