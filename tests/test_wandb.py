"""An offline W&B run, read back from disk."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from wandb_stub import serving
from warm_cli import saddle_command

from cli import main

ARGS = [
    *("--config", "quickstart.yaml", "--data.val_samples", "4", "--data.batch_size", "4", "--data.size", "16"),
    *("--attack.train.steps", "1", "--attack.evaluate.pgd.init_args.steps", "2", "--trainer.log_every_n_steps", "1"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.enable_progress_bar", "false"),
    *("--trainer.callbacks.Inpainting.steps", "3", "--trainer.callbacks.Generation.steps", "3"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short quickstart with its own logger and callbacks."""
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_SILENT", "true")
        main(["fit", *ARGS, "--data.train_samples", "8", "--trainer.max_epochs", "2"])
        import wandb

        wandb.finish()
    return folder / "runs" / "quickstart" / "wandb"


def inspect(offline):
    command = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--json", offline]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="module")
def records(run):
    (offline,) = run.glob("offline-run-*")
    return inspect(offline)


def rows_of(records):
    return [record["history"]["item"] for record in records if record["type"] == "history"]


@pytest.fixture(scope="module")
def history(records):
    return rows_of(records)


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
    assert all(0 <= share <= 1 for share in series(history, "speed/data_share"))
    assert len(series(history, "attack/zero_gradients")) == 1, "one in 100 steps"
    for key in ("train/gradient_norm", "speed/memory_gib", "speed/images_per_second"):
        assert len(series(history, key)) == 4 and all(value > 0 for value in series(history, key))


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


KILL = """
import os
import time
from lightning.pytorch import Callback


class Kill(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.at(f"step {trainer.global_step}")

    def on_validation_end(self, trainer, pl_module):
        self.at(f"validation {trainer.global_step}")

    def at(self, place):
        if os.environ.get("WAITS_AT") == place:
            time.sleep(float(os.environ["WAITS"]))
        if os.environ.get("KILLED_AT") == place:
            os.kill(os.getpid(), 9)
"""


def fit_killed_at(folder, places, *args, **environment):
    """A fit of three epochs of four steps, which waits at a place and is killed at another, goes on, and so forth."""
    (folder / "killing.py").write_text(KILL)
    environment |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"} | environment
    own = ["--data.train_samples", "16", "--trainer.max_epochs", "3", "--trainer.callbacks+=killing.Kill"]
    for wait, kill in [*places, ("", "")]:
        done = subprocess.run(
            [*saddle_command().split(), "fit", *ARGS, *own, *args, "--ckpt_path", "last"],
            env={**environment, "WAITS_AT": wait, "KILLED_AT": kill},
            cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == (128 + signal.SIGKILL if kill else 0), done.stderr[-2000:]
    assert [path.name for path in (folder / "runs").iterdir()] == ["quickstart"]


EACH = ("train/loss", "lr-SGD", "speed/attack_share", "train/gradient_norm")
ONCE_AN_EPOCH = ("val/clean/miou", "val/pgd/iou/background", "synthesis/inpainting_blurred_error")


def is_whole(history, pictures):
    """Every step is there once: twelve of training, and three evaluations with their pictures."""
    steps = {key: [row["trainer/global_step"] for row in history if key in row] for key in (*EACH, *ONCE_AN_EPOCH)}
    assert {key: steps[key] for key in EACH} == {key: list(range(12)) for key in EACH}
    assert [len(steps[key]) for key in ONCE_AN_EPOCH] == [3] * len(ONCE_AN_EPOCH), steps
    assert len([row for row in history if f"synthesis/generation{pictures}" in row]) == 3


def test_a_run_that_is_killed_again_and_again_shows_every_step_once(tmp_path):
    places = [("step 2", "step 2"), ("step 6", "step 6"), ("validation 8", "validation 8")]
    fit_killed_at(tmp_path, places, WAITS="1")  # by then, W&B has written its file
    folders = sorted((tmp_path / "runs/quickstart/wandb").glob("offline-run-*"))
    assert len(folders) == len(places) + 1
    assert len({folder.name.split("-")[-1] for folder in folders}) == 1, "one dashboard"
    is_whole([row for folder in folders for row in rows_of(inspect(folder))], ".filenames")


def test_online_it_is_one_run_and_what_did_not_arrive_is_sent_again(tmp_path):
    """The row of step 5 has, 15 seconds being W&B's interval, and that of step 6 has not."""
    with serving() as server:
        online = {"WANDB_BASE_URL": server.address, "WANDB_API_KEY": "a" * 40, "WANDB_MODE": "online"}
        args = ["--trainer.logger.init_args.offline", "false"]
        fit_killed_at(tmp_path, [("step 6", "step 7")], *args, WAITS="17", **online)
        name = (tmp_path / "runs/quickstart/wandb/id").read_text()
        assert set(server.history) == {name}
        upserts = server.sent("UpsertBucket")
        assert {(each["name"], each["project"]) for each in upserts} == {(name, "saddle")}
        assert [asked["name"] for asked in server.sent("RunResumeStatus")] == [name] * 2
        is_whole(server.rows(name), "")


def test_the_axis_is_ours_whatever_lightning_does(records):
    """Lightning's next version calls it `global_step`."""
    defined = [record["metric"] for record in records if record["type"] == "metric"]
    assert any(each.get("glob_name") == "*" and each.get("step_metric") == "trainer/global_step" for each in defined)
    assert all("trainer/global_step" in row and "global_step" not in row for row in rows_of(records))
