"""Tables of Aggarwal et al. 2020, from training to the table, on tiny data in the real formats."""

import os
import subprocess
from pathlib import Path

import pytest
from tiny_classification import write_cifar10, write_mnist, write_svhn, write_usps
from warm_cli import saddle_command

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = sorted((ROOT / "experiments").glob("aggarwal_table[123].sh"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for write in (write_cifar10, write_mnist, write_svhn, write_usps):
        write(folder / write.__name__.removeprefix("write_"))
    return folder


def run(number, out, data):
    """A script with the natural network alone."""
    command = {
        "SADDLE_COMMAND": saddle_command(),
        "OUT": str(out),
        "SMALL": "1",
        "EPS": "",
        "DATA": str(data),
    }
    env = {**os.environ, "OMP_NUM_THREADS": "1", **command}
    script = [f"experiments/aggarwal_table{number}.sh", "--data.num_workers", "0"]
    return subprocess.run(script, cwd=ROOT, env=env, text=True, capture_output=True, check=False)


def columns(done):
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("│") and not line.split("│")[1].strip()]
    return [cell.strip() for cell in line.split("│")[2:-1]]


def test_a_row_for_each_attack_on_cifar10(tmp_path, data):
    done = run(1, tmp_path, data)
    assert columns(done) == ["natural_seed0"]
    assert "pgd_eps4 (Linf 4/255, 10 steps) accuracy" in done.stdout and "standard training" in done.stdout


def test_source_and_target_are_columns_and_a_second_call_only_makes_the_table(tmp_path, data):
    assert columns(run(2, tmp_path, data)) == ["SVHN", "MNIST"]
    before = {path: path.read_bytes() for path in tmp_path.glob("*/results.json")}
    done = run(2, tmp_path, data)
    assert columns(done) == ["SVHN", "MNIST"] and done.stdout.count("nothing is changed") == 1
    assert {path: path.read_bytes() for path in tmp_path.glob("*/results.json")} == before and len(before) == 2
    os.utime(tmp_path / "natural_seed0" / "checkpoints" / "last.ckpt")  # as if it had been trained further
    done = run(2, tmp_path, data)
    assert done.returncode == 1 and "natural_seed0_mnist_test is older than its network" in done.stderr


def test_each_layout_of_usps_is_a_column(tmp_path, data):
    done = run(3, tmp_path, data)
    assert columns(done) == ["MNIST", "USPS (layout frame)", "USPS (layout margin)", "USPS (layout mass)"]
    assert done.stdout.count("natural_seed0: clean accuracy") == 1


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_what_it_shows_and_has_a_task_for_each_network(script):
    text = script.read_text()
    header = text.splitlines()
    assert header[1].startswith("# Table ") and any(line.startswith("# Expected: ") for line in header)
    assert any(line.startswith("# Run: ") and script.name in line for line in header)
    assert os.access(script, os.X_OK)
    (eps,) = [line.partition("${EPS-")[2].partition("}")[0].split() for line in header if "${EPS-" in line]
    networks = 1 + len(eps) * sum(line.startswith("  row ") for line in header)
    assert f"#SBATCH --array=0-{networks - 1}" in header
