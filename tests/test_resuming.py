"""Runs that go on, and what they lose by it: nothing."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from test_cli import QUICK, results

from cli import main

ONE = [*QUICK, "--trainer.max_epochs", "1"]
LAST = ["--ckpt_path", "last"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLE_DEBUG", raising=False)


def refused(capsys, *args):
    """The one line a command ends with."""
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    return line


def content(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_finished_run_is_left_as_it_is(capsys):
    main(["fit", *ONE])
    before = content("runs")
    main(["fit", *ONE, *LAST])
    assert "runs/quickstart is finished, after 1 epochs and 2 steps; nothing is changed" in capsys.readouterr().out
    assert content("runs") == before
    line = refused(capsys, "fit", *ONE, "--trainer.max_epochs", "0", *LAST)
    assert re.search("last.ckpt: has come to epoch 1 and step 2, beyond trainer.max_epochs 0", line)
    assert content("runs") == before

    Path("runs/quickstart/results.json").unlink()
    main(["fit", *ONE, *LAST])
    again = results("quickstart")
    assert again["metrics"] == json.loads(before[Path("runs/quickstart/results.json")])["metrics"], "it was due"
    assert (again["epochs"], again["steps"]) == (1, 2)

    for path in Path("runs/quickstart/checkpoints").iterdir():
        path.unlink()
    assert "has results but no checkpoints/last.ckpt" in refused(capsys, "fit", *ONE, *LAST)
    assert results("quickstart") == again


def test_a_run_that_was_stopped_early_is_finished_until_its_limits_change(capsys):
    """By a callback: its number of epochs does not say so."""
    stop = "[{class_path: EarlyStopping, init_args: {monitor: val/clean/loss, patience: 1, min_delta: 1.0e+9}}]"
    args = ["fit", *QUICK, "--trainer.max_epochs", "4", "--trainer.callbacks", stop]
    main(args)
    assert results("quickstart")["epochs"] == 2 and results("quickstart")["metrics"]
    before = content("runs")
    main([*args, *LAST])
    assert "is finished, after 2 epochs and 4 steps: Monitored metric" in capsys.readouterr().out
    assert content("runs") == before
    main([*args[:-1], "[]", *LAST])
    assert results("quickstart")["epochs"] == 4


def test_a_fit_goes_on_where_its_checkpoint_lies_and_nowhere_else(capsys):
    main(["fit", *ONE, "--name", "std"])
    main(["fit", *ONE, "--name", "tuned"])
    path = "runs/std/checkpoints/last.ckpt"
    before = content("runs")
    line = refused(capsys, "fit", *QUICK, "--name", "tuned", "--ckpt_path", path)
    assert (
        f"no checkpoint of runs/tuned; to start from its weights, give them as --model.network.weights {path}" in line
    )
    assert "add --name std" in line and content("runs") == before
    assert "a folder" in refused(capsys, "fit", *QUICK, "--ckpt_path", "")
    assert "a folder" in refused(capsys, "test", *QUICK, "--ckpt_path", "runs/std")
    assert content("runs") == before

    main(["fit", *ONE, "--name", "tuned", "--model.network.init_args.weights", path])
    main(["fit", *QUICK, "--name", "std", "--ckpt_path", path])
    assert results("tuned-2")["steps"] == 2 and results("std")["steps"] == 4
    assert sorted(os.listdir("runs")) == ["std", "tuned", "tuned-2"]


def test_a_checkpoint_of_weights_alone_is_nothing_to_go_on_from(capsys):
    best = "[{class_path: ModelCheckpoint, init_args: {filename: light, save_weights_only: true}}]"
    main(["fit", *ONE, "--trainer.callbacks", best])
    light = "runs/quickstart/checkpoints/light.ckpt"
    assert "holds weights alone" in refused(capsys, "fit", *QUICK, "--ckpt_path", light)


def test_a_run_that_is_ended_in_its_last_evaluation_ends_with_its_results(tmp_path, monkeypatch):
    Path("late.py").write_text(
        "import os, signal\n"
        "from torch import Tensor, nn\n"
        "def late(network: nn.Module, image: Tensor, label: Tensor, seed=None, region=None) -> Tensor:\n"
        "    if os.environ.get('END'):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    network(image)\n"
        "    return image / 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    args = ["fit", *ONE, "--attack.evaluate", "{mine: late.late}"]
    main([*args, "--name", "whole"])
    monkeypatch.setenv("END", "1")
    with pytest.raises(SystemExit) as ended:
        main([*args, "--trainer.num_sanity_val_steps", "0"])
    assert ended.value.code == 128 + 15 and not Path("runs/quickstart/results.json").exists()
    monkeypatch.delenv("END")
    main([*args, *LAST])
    assert results("quickstart")["metrics"] == results("whole")["metrics"]
    assert results("quickstart")["steps"] == 2
    with pytest.raises(SystemExit):
        monkeypatch.setenv("END", "1")
        main(["test", *args[1:], *LAST, "--sanity", "false"])
    assert not Path("runs/quickstart_test").exists(), "nothing was measured in it"


def test_a_broken_last_checkpoint_is_passed_over_loudly(capsys):
    main(["fit", *ONE, "--trainer.max_epochs", "3"])
    whole = torch.load("runs/quickstart/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    last, previous = (Path("runs/quickstart/checkpoints") / name for name in ("last.ckpt", "previous.ckpt"))
    Path("runs/quickstart/results.json").unlink()
    content = last.read_bytes()
    last.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"last.ckpt: .*: the run goes on from the checkpoint before, .*previous.ckpt"):
        main(["fit", *ONE, "--trainer.max_epochs", "3", *LAST])
    again = torch.load(last, weights_only=True)["state_dict"]
    assert all(torch.equal(again[name], value) for name, value in whole.items())
    last.unlink()
    main(["validate", *ONE, *LAST, "--sanity", "false"])
    previous.write_bytes(b"PK")
    last.write_bytes(content[:999])
    assert re.search("last.ckpt: .*previous.ckpt: ", refused(capsys, "fit", *ONE, *LAST))


def test_a_run_goes_on_exactly_also_with_its_jobs_time_limit(capsys):
    args = ["fit", *QUICK, "--trainer.max_epochs", "3", "--trainer.num_sanity_val_steps", "0"]
    main([*args, "--name", "whole"])
    for _ in range(3):
        with pytest.raises(SystemExit) as ended:
            main([*args, *LAST, "--trainer.max_time", "00:00:00:00"])
        assert not ended.value.code
        assert "max_time is over; to go on, call it again: fit with --ckpt_path last" in capsys.readouterr().err
    main([*args, *LAST])
    one, other = (torch.load(f"runs/{run}/checkpoints/last.ckpt", weights_only=True) for run in ("whole", "quickstart"))
    assert one["global_step"] == other["global_step"] == 6
    assert all(torch.equal(other["state_dict"][name], value) for name, value in one["state_dict"].items())
    assert results("whole")["metrics"] == results("quickstart")["metrics"]


def test_a_requeued_job_goes_on_where_it_was_whatever_its_command_says(monkeypatch, capsys):
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    main(["fit", *ONE])
    main(["fit", *ONE])
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    main(["fit", *ONE])
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    main(["fit", *QUICK, "--trainer.max_epochs", "2"])
    assert sorted(os.listdir("runs")) == ["quickstart", "quickstart-2", "quickstart-3"]
    assert [results(name)["epochs"] for name in sorted(os.listdir("runs"))] == [1, 2, 1]


def test_the_best_checkpoint_by_its_own_section():
    main(["fit", *QUICK, "--trainer.max_epochs", "2", "--checkpoints.best", "val/pgd/miou"])
    assert Path("runs/quickstart/checkpoints/best.ckpt").is_file()


def test_the_best_checkpoint_from_the_command_line():
    """In the run's folder, and nothing outside it."""
    best = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.monitor", "val/pgd/miou"]
    best += ["--trainer.callbacks.mode", "max", "--trainer.callbacks.filename", "best"]
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "logs"]
    main(["fit", *QUICK, *best, *logger])
    checkpoints = sorted(path.name for path in Path("runs/quickstart/checkpoints").iterdir())
    assert checkpoints == ["before_divergence.ckpt", "best.ckpt", "last.ckpt", "previous.ckpt"]
    assert os.listdir() == ["runs"] and os.listdir("runs") == ["quickstart"]
    assert list(Path("runs/quickstart/logs").rglob("metrics.csv"))
    main(["validate", *QUICK, "--ckpt_path", "runs/quickstart/checkpoints/best.ckpt", "--sanity", "false"])
    assert results("quickstart_validate")["training"]["run"] == "quickstart"


def test_a_protocol_does_not_paint_unless_it_is_asked_to():
    Path("protocol.yaml").write_text("paint: false")
    paint = "[{class_path: Inpainting, init_args: {constraint: {class_path: L2, init_args: {eps: 1}}, steps: 1, "
    paint += "step_size: 0.1, size: 4, samples: 1}}]"
    args = ["test", *QUICK, "--trainer.callbacks", paint, "--sanity", "false"]
    main([*args, "--config", "protocol.yaml"])
    assert not Path("runs/quickstart_protocol/gallery").exists()
    main([*args, "--config", "protocol.yaml", "--paint", "true"])
    assert Path("runs/quickstart_protocol-2/gallery/index.html").is_file()
    main(args)
    assert Path("runs/quickstart_test/gallery/index.html").is_file()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("../x", "without /"), ("a/b", "without /"), ("..", "without /"), ("", "without /"), ("a\nb", "without /"),
     ("a\0b", "without /"), ("x" * 300, "File name too long")],
)  # fmt: skip
def test_a_name_that_is_no_folders_is_one_line(capsys, name, expected):
    assert expected in refused(capsys, "fit", *QUICK, "--name", name)
    assert os.listdir() == []


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_a_file_in_the_place_of_the_runs_is_one_line(capsys, command):
    Path("runs").write_text("a file")
    assert re.search("runs/quickstart.*: (Not a directory|File exists)", refused(capsys, command, *ONE))
    assert Path("runs").read_text() == "a file"


def test_a_name_that_a_file_or_a_broken_link_has_is_taken():
    Path("runs").mkdir()
    Path("runs/quickstart").write_text("a file")
    Path("runs/quickstart-2").symlink_to("nowhere")
    main(["fit", *ONE])
    assert results("quickstart-3")["steps"] == 2


@pytest.mark.parametrize(
    ("victim", "command"),
    [("config.yaml", "fit"), ("last.ckpt", "fit"), ("results.json", "fit"), ("results.json", "validate"),
     ("key", "test"), ("samples.csv", "test")],
)  # fmt: skip
def test_a_full_disk_is_one_line_that_names_the_file(capsys, monkeypatch, victim, command):
    """Whatever is written: nothing half-written stays, and what was there before does."""
    replace = Path.replace

    def full(self, target):
        if Path(target).name == victim:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    line = refused(capsys, command, *ONE, *([] if command == "fit" else ["--sanity", "false"]))
    assert re.search(f"runs/.*{victim}: No space left on device", line)
    assert not [path for path in Path("runs").rglob("*") if path.name.startswith(f".{victim}")]
    if victim in ("config.yaml", "last.ckpt", "key"):
        assert not list(Path().glob("runs/*")), "nothing was done in it"


def no_room(_):
    raise OSError(28, "No space left")


def test_a_full_disk_leaves_the_checkpoint_before(capsys, monkeypatch):
    """And from that the run goes on, once there is room."""
    main(["fit", *ONE])
    kept = Path("runs/quickstart/checkpoints/last.ckpt").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("callbacks.whole_files.os.fsync", no_room)
        assert "last.ckpt: No space left" in refused(capsys, "fit", *QUICK, *LAST)
    assert Path("runs/quickstart/checkpoints/last.ckpt").read_bytes() == kept
    main(["fit", *QUICK, *LAST])
    assert results("quickstart")["steps"] == 4
    assert torch.load("runs/quickstart/checkpoints/last.ckpt", weights_only=True)["global_step"] == 4
