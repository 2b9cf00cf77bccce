"""An offline W&B run, read back from disk."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short quickstart with its own logger and callbacks."""
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_SILENT", "true")
        args = ["--data.train_samples", "8", "--data.val_samples", "4", "--data.batch_size", "4", "--data.size", "16"]
        args += ["--attack.train.steps", "1", "--attack.evaluate.pgd.init_args.steps", "2", "--trainer.max_epochs", "2"]
        args += ["--trainer.check_val_every_n_epoch", "1", "--trainer.log_every_n_steps", "1"]
        main(["fit", "--config", "quickstart.yaml", *args, "--trainer.enable_progress_bar", "false"])
        import wandb

        wandb.finish()
    return folder / "runs" / "quickstart" / "wandb"


@pytest.fixture(scope="module")
def records(run):
    (offline,) = run.glob("offline-run-*")
    inspect = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--json", offline]
    output = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="module")
def history(records):
    return [record["history"]["item"] for record in records if record["type"] == "history"]


def series(history, key):
    return [row[key] for row in history if key in row]


def test_the_scalars_are_there(history):
    assert len(series(history, "train/loss")) == 4, "one per step"
    assert len(series(history, "lr-SGD")) == 4
    assert all(0 < share < 1 for share in series(history, "speed/attack_share"))
    assert all(speed > 0 for speed in series(history, "speed/images_per_second"))
    for version in ("clean", "pgd"):
        for metric in ("accuracy", "miou", "loss", "iou/background"):
            assert len(series(history, f"val/{version}/{metric}")) == 2, "one per epoch"
    assert len(series(history, "synthesis/inpainting_blurred_error")) == 2


@pytest.mark.parametrize("task", ["inpainting", "generation"])
def test_the_pictures_are_there_and_show_the_same_samples_each_epoch(run, history, task):
    captions = series(history, f"synthesis/{task}.captions")
    assert captions == [[f"{index:06d}: original, start, result, prediction" for index in range(4)]] * 2
    names = [name for names in series(history, f"synthesis/{task}.filenames") for name in names]
    (offline,) = run.glob("offline-run-*")
    for name in names:
        with Image.open(offline / "files" / name) as image:
            assert image.size == (4 * 16 + 3 * 2, 16)
    assert len(set(names)) == 8, "the results differ from epoch to epoch"


def test_the_config_and_the_name_are_logged(records):
    config = next(r["config"]["update"] for r in records if r["type"] == "config" and "attack" in r["config"]["update"])
    assert config["attack"]["train"]["init_args"]["constraint"]["init_args"]["eps"] == 0.06
    (run,) = [record["run"] for record in records if record["type"] == "run"]
    assert (run["display_name"], run["project"]) == ("quickstart", "saddle")


def test_a_resumed_run_goes_on_in_the_same_dashboard(run):
    (offline,) = run.glob("offline-run-*")
    assert offline.name.endswith((run / "id").read_text())
