"""Every figure of the papers has a command that works, on tiny networks here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = sorted(path for path in (ROOT / "experiments").glob("*.sh") if "_figure" in path.name)


def run(script, out, **environment):
    command = {"SADDLE_COMMAND": f"{sys.executable} {ROOT}/cli.py", "OUT": str(out), "SMALL": "1", "SAMPLES": "2"}
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true", **command, **environment}
    return subprocess.run([script], cwd=ROOT, env=env, text=True, capture_output=True, check=False)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("figures")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_figure_is_made_with_both_networks(script, out):
    done = run(script, out, CLASSES="1")
    assert done.returncode == 0, done.stderr[-2000:]
    sheets = list((out / script.stem).glob("**/contact_sheet.png"))
    assert len(sheets) == 1
    networks = {path.name for path in (out / "runs").iterdir() if not path.name.endswith("judge")}
    painted = {path.name for path in sheets[0].parent.iterdir() if path.is_dir()}
    assert len(painted & networks) == 2


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_what_it_shows(script):
    header = script.read_text().splitlines()
    assert header[1].startswith("# Figure ") and any(line.startswith("# Expected: ") for line in header)
    assert any(line.startswith("# Run: ") and script.name in line for line in header)
    assert os.access(script, os.X_OK)


def test_table_1_on_drawn_shapes(out):
    done = run(ROOT / "experiments" / "paper_table1.sh", out)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pgd (Linf 0.03" in done.stdout and "fcn_standard" in done.stdout
