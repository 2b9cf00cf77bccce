"""The command line, as a user types it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import Namespace
from tiny_data import write_camvid, write_images

from cli import _end, main
from lightning_modules import Network
from resuming import evaluation_key

CLI = Path(__file__).parent.parent / "cli.py"
QUICK = [
    *("--config", "quickstart.yaml", "--model.network.init_args.channels_last", "false", "--trainer.logger", "false"),
    *("--data.train_samples", "8", "--data.val_samples", "4", "--data.batch_size", "4", "--data.size", "16"),
    *("--attack.train.steps", "1", "--attack.evaluate.pgd.init_args.steps", "1", "--trainer.max_epochs", "2"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.callbacks", "[]"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
]
SMALL = [
    *("--trainer.logger", "false", "--data.crop", "32", "--data.batch_size", "4", "--data.num_workers", "1"),
    *("--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1"),
]


CAMVID = ["--config", "camvid.yaml"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLE_DEBUG", raising=False)


def results(run):
    return json.loads(Path("runs", run, "results.json").read_text())


def measured(run):
    """A run's metrics without the intervals, which those of label maps have in evaluations only."""
    return {
        version: {name: value for name, value in values.items() if not name.endswith("_interval")}
        for version, values in results(run)["metrics"].items()
    }


def error_of(capsys, *args):
    """The one line that a mistake ends with; the run leaves nothing behind."""
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    assert ended.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert not list(Path().glob("runs/*"))
    return lines[0]


def test_fit_then_validate_test_and_resume():
    main(["fit", *QUICK])
    kept = {"checkpoints", "config.yaml", "progress.json", "results.json"}
    assert {path.name for path in Path("runs/quickstart").iterdir()} == kept
    fitted = results("quickstart")
    assert set(fitted["metrics"]) == {"clean", "pgd"}
    assert (fitted["epochs"], fitted["steps"]) == (2, 4)

    main(["validate", *QUICK, "--ckpt_path", "last"])
    for version in ("clean", "pgd"):
        assert measured("quickstart_validate")[version] == fitted["metrics"][version]
    main(["test", *QUICK, "--ckpt_path", "runs/quickstart/checkpoints/last.ckpt"])
    assert measured("quickstart_test")["clean"] != fitted["metrics"]["clean"], "other pictures"

    main(["fit", *QUICK, "--trainer.max_epochs", "3", "--ckpt_path", "last"])
    assert results("quickstart")["steps"] == 6
    main(["fit", *QUICK])
    assert Path("runs/quickstart-2/results.json").is_file(), "a run is never overwritten"


def test_the_kept_config_repeats_the_run():
    main(["fit", *QUICK, "--attack.train.constraint.eps", "2/255"])
    config = yaml.safe_load(Path("runs/quickstart/config.yaml").read_text())
    assert config["attack"]["train"]["init_args"]["constraint"]["init_args"]["eps"] == "2/255"
    main(["fit", "--config", "runs/quickstart/config.yaml", "--name", "again"])
    assert results("again")["metrics"] == results("quickstart")["metrics"]
    attack = results("again")["training"]["attack"]
    assert attack["constraint"] == {"class": "Linf", "eps": 2 / 255}
    assert attack["objective"] == {"class": "CrossEntropy"}
    main(["validate", "--config", "runs/quickstart/config.yaml", "--ckpt_path", "last"])
    assert measured("quickstart_validate")["clean"] == results("quickstart")["metrics"]["clean"]


def test_standard_training_is_one_argument_away():
    main(["fit", *QUICK, "--attack.train", "null", "--name", "standard"])
    assert results("standard")["training"]["attack"] is None


def test_averaged_weights_are_measured_tested_and_resumed():
    ema = ["--trainer.callbacks", "[{class_path: EMA, init_args: {decay: 0.5}}]"]
    main(["fit", *QUICK, "--name", "plain"])
    main(["fit", *QUICK, *ema])
    fitted = results("quickstart")["metrics"]
    assert fitted != results("plain")["metrics"]
    for options in ([], ema):
        main(["validate", *QUICK, *options, "--ckpt_path", "last"])
    for run in ("quickstart_validate", "quickstart_validate-2"):
        for version in ("clean", "pgd"):
            assert measured(run)[version] == fitted[version]
    main(["fit", *QUICK, *ema, "--trainer.max_epochs", "3", "--ckpt_path", "last"])
    assert results("quickstart")["steps"] == 6


def test_recipes_are_a_few_arguments_away():
    recipe = ["--attack.fraction", "0.5", "--attack.warm_up", "1.5", "--trainer.callbacks+=OverfittingGuard"]
    trades = ["--model.loss", "TRADES", "--model.loss.beta", "3", "--attack.train.objective", "KLDivergence"]
    main(["fit", *QUICK, *recipe, "--trainer.callbacks+=EMA", "--trainer.callbacks.decay", "0.9", *trades])
    config = yaml.safe_load(Path("runs/quickstart/config.yaml").read_text())
    assert (config["attack"]["fraction"], config["attack"]["warm_up"]) == (0.5, 1.5)
    assert config["model"]["loss"]["init_args"]["beta"] == 3
    assert [callback["class_path"] for callback in config["trainer"]["callbacks"]] == [
        "callbacks.OverfittingGuard",
        "callbacks.EMA",
    ]
    assert results("quickstart")["training"]["attack"]["objective"] == {"class": "KLDivergence"}
    assert results("quickstart")["stopped"] is None
    assert Path("runs/quickstart/checkpoints/before_overfitting.ckpt").is_file()


def test_one_callback_takes_the_place_of_a_list():
    main(["fit", *QUICK, "--trainer.callbacks", "OverfittingGuard", "--trainer.callbacks.drop", "0.3"])
    assert results("quickstart")["stopped"] is None
    config = yaml.safe_load(Path("runs/quickstart/config.yaml").read_text())
    assert config["trainer"]["callbacks"]["init_args"]["drop"] == 0.3


def test_trades_without_a_training_attack_is_one_line(capsys):
    with pytest.raises(SystemExit):
        main(["fit", *QUICK, "--model.loss", "TRADES", "--attack.train", "null"])
    assert "attack.train is null: set attack.train, or take" in capsys.readouterr().err.splitlines()[-1]


def test_somebody_elses_attack_by_import_path(tmp_path, monkeypatch):
    Path("mine.py").write_text(
        "from torch import Tensor, nn\n"
        "def invert(network: nn.Module, image: Tensor, label: Tensor, seed=None, region=None) -> Tensor:\n"
        "    return 1 - image\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    main(["fit", *QUICK, "--attack.train", "mine.invert"])
    assert results("quickstart")["training"]["attack"] == "invert"


def test_print_config_is_a_config(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["fit", *QUICK, "--print_config"])
    assert not ended.value.code
    Path("frozen.yaml").write_text(capsys.readouterr().out)
    main(["fit", "--config", "frozen.yaml"])
    assert results("frozen")["epochs"] == 2


def test_a_seed_repeats_a_run_and_another_does_not():
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        main(["fit", *QUICK, "--name", name, "--seed_everything", seed])
    assert results("a")["metrics"] == results("b")["metrics"] != results("c")["metrics"]


def test_predict_writes_label_maps_of_the_images_own_size():
    from PIL import Image

    images = write_images(Path("photos"))
    main(["fit", *QUICK])
    main(["predict", *QUICK, "--ckpt_path", "last", "--data.predict_images", "photos"])
    predictions = Path("runs/quickstart_predict/predictions")
    names = {path.relative_to("photos").with_suffix(".png"): path for path in images}
    assert {path.relative_to(predictions) for path in predictions.rglob("*.png")} == names.keys()
    for name, path in names.items():
        with Image.open(path) as image, Image.open(predictions / name) as label:
            assert label.size == image.size
            assert label.mode == "P" and max(label.tobytes()) < 5


LATE = """
from torch import Tensor, nn
from lightning_modules.losses import CrossEntropyLoss

calls = 0


def loss(network: nn.Module, batch: dict) -> Tensor:
    global calls
    calls += 1
    return CrossEntropyLoss()(network, batch) * (float("nan") if calls == 5 else 1)
"""
"""Once for the first look, then NaN at step 3, counted from 0, the second of the second epoch."""


def test_a_run_that_diverges_ends_with_its_reason_and_its_checkpoint_stays(capsys, tmp_path, monkeypatch):
    Path("late_nan.py").write_text(LATE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as ended, pytest.warns(UserWarning, match="The run is stopped"):
        main(["fit", *QUICK, "--model.loss", "late_nan.loss", "--trainer.max_epochs", "9"])
    assert ended.value.code == 2
    why = results("quickstart")["stopped"]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line == f"error: runs/quickstart: {why}" and "is no number at step 3; what was measured is of step 2" in why
    checkpoints = Path("runs/quickstart/checkpoints")
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["global_step"] == 2
    assert (checkpoints / "before_divergence.ckpt").samefile(checkpoints / "last.ckpt")
    main(["status"])
    assert f"s ago: {why[:20]}" in capsys.readouterr().out
    main(["fit", *QUICK, "--trainer.max_epochs", "9", "--ckpt_path", "last"])
    assert results("quickstart")["steps"] == 18 and results("quickstart")["stopped"] is None


def test_status_says_what_runs_did(capsys):
    main(["fit", *QUICK])
    main(["test", *QUICK, "--ckpt_path", "last"])
    capsys.readouterr()
    main(["status"])
    out = capsys.readouterr().out
    assert len(re.findall(r"finished \d+ s ago", out)) == 2
    assert "quickstart_test" in out and "4 of 4" in out and "mIoU: clean" in out


def test_report_compares_runs(capsys):
    main(["fit", *QUICK])
    main(["fit", *QUICK, "--name", "standard", "--attack.train", "null"])
    capsys.readouterr()
    main(["report", "runs/quickstart", "runs/standard"])
    out = capsys.readouterr().out
    assert "standard training" in out and "Linf 0.06" in out and "Gallery:" in out
    assert Path("runs/report.html").is_file()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--config", "at1001.yaml"], r"--config at1001.yaml: no such file; configs/ has .*at101.yaml"),
        ([*QUICK, "--attack.train.constraint.eps", "8"], r"Linf\(eps=8.0\): eps is in pixel units.* write 8/255"),
        ([*QUICK, "--attack.train.constraint.eps", "eight"], r"'eight' is no number; write 0.03 or 8/255"),
        ([*QUICK, "--attack.train.init_args.step_size", "2"], r"step_size=2.0 is in pixel units; write 2/255"),
        ([*QUICK, "--model.network.init_args.name", "fcn_smal"], r"unknown network 'fcn_smal'; did you mean fcn_small"),
        ([*QUICK, "--model.network.init_args.weights", "./none.pt"], r"none.pt: no such weights file"),
        ([*QUICK, "--model.network.init_args.num_classes", "6"], r"6 outputs, and the data have 5 classes"),
        ([*QUICK, "--trainer.max_epoch", "3"], r"unrecognized arguments: --trainer.max_epoch 3"),
        ([*QUICK, "--trainer.max_epochs", "three"], r"trainer.max_epochs: Expected a <class 'int'>, not three"),
        ([*QUICK, "--data.crop", "3"], r"data: Option 'crop' is not accepted"),
        ([*QUICK, "--attack.train", "PDG"], r"attack.train: no Adversary is called PDG; did you mean PGD"),
        ([*QUICK, "--model.optimizer", "os.getcwd"], r"model.optimizer: os.getcwd: this is of Python's own library"),
        ([*QUICK, "--trainer.precision", "bf16-true"], r"precision bf16-true rounds the pixels"),
        (["--config", "camvid.yaml", "--data.root", "nowhere"], r"nowhere: no such folder; set --data.root"),
        ([*QUICK, "--ckpt_path", "nothing.ckpt"], r"--ckpt_path nothing.ckpt: no such file"),
        (
            [*QUICK, "--trainer.check_val_every_n_epoch", "5"],
            r"max_epochs 2 is no multiple of check_val_every_n_epoch 5",
        ),
        ([*QUICK, "--data.batch_size", "100"], r"8 training samples do not fill a batch of 100"),
        ([*QUICK, "--data.batch_size", "0"], r"--data.batch_size 0: must be 1 or more"),
        ([*QUICK, "--data.eval_batch_size", "-3"], r"--data.eval_batch_size -3: must be 1 or more"),
        ([*QUICK, "--data.size", "0"], r"--data.size 0: must be 1 or more"),
        ([*CAMVID, "--data.scale", "[300,150]"], r"--data.scale's upper end 150: must be 300 or more"),
        ([*CAMVID, "--data.crop", "0"], r"--data.crop 0: must be 1 or more"),
        ([*CAMVID, "--data.flip", "2"], r"--data.flip 2.0: must be between 0 and 1"),
        ([*CAMVID, "--data.eval_size", "0"], r"--data.eval_size 0: must be 1 or more"),
        (["--config", "mnist_at.yaml", "--data.size", "0"], r"--data.size 0: must be 1 or more"),
        (["--config", "mnist_at.yaml", "--data.padding", "-3"], r"--data.padding -3: must be 0 or more"),
        (["--config", "imagenet_l2.yaml", "--data.scale", "[2,1]"], r"--data.scale .*: must be between 0 and 1"),
    ],
)
def test_a_mistake_gets_one_clear_line(capsys, args, expected):
    assert re.search(expected, error_of(capsys, "fit", *args))


def test_a_key_that_does_not_exist_in_a_config(capsys):
    Path("typo.yaml").write_text(
        "model: {network: {class_path: Network, init_args: {nam: fcn_small, num_classes: 5}}}\n"
    )
    assert "nam" in error_of(capsys, "fit", "--config", "typo.yaml", "--data", "Shapes")


def test_weights_that_do_not_fit(capsys):
    torch.save({"a": torch.zeros(1)}, "other.pt")
    line = error_of(capsys, "fit", *QUICK, "--model.network.init_args.weights", "./other.pt")
    assert "other.pt: the weights do not fit" in line and "1 unexpected (model.a)" in line


def test_a_report_on_no_run(capsys):
    Path("empty").mkdir()
    assert "results.json: not found; a run writes it" in error_of(capsys, "report", "empty")


def test_a_corrupt_image_met_in_a_worker_gets_one_clear_line(capsys):
    write_camvid(Path("camvid"))
    victim = sorted(Path("camvid/train").glob("*.png"))[0]
    victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(SystemExit):
        main(["fit", "--config", "camvid.yaml", "--data.root", "camvid", *SMALL])
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("error: ")]
    assert f"{victim.name}: corrupt or truncated image" in line
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "the end of a job"])
def test_an_interruption_leaves_a_checkpoint_to_go_on_from(how):
    """A run that is interrupted in its second epoch goes on where it was; nobody takes it for finished."""
    args = ["fit", *QUICK, "--trainer.max_epochs", "10000", "--data.val_samples", "1"]
    process = subprocess.Popen([sys.executable, CLI, *args], env={**os.environ, "OMP_NUM_THREADS": "1"})
    last = Path("runs/quickstart/checkpoints/last.ckpt")
    deadline = time.monotonic() + 120
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(how)
    assert process.wait(60) == 128 + how
    reached = torch.load(last, weights_only=True)["global_step"]
    assert reached > 0 and not Path("runs/quickstart/results.json").exists()
    main(["fit", *QUICK, "--trainer.max_epochs", "-1", "--trainer.max_steps", str(reached + 3), "--ckpt_path", "last"])
    assert results("quickstart")["steps"] == reached + 3


def test_an_interrupted_evaluation_goes_on_in_its_folder_and_another_has_its_own(tmp_path, monkeypatch):
    Path("dark.py").write_text(
        "from pathlib import Path\n"
        "from torch import Tensor, nn\n"
        "def darken(network: nn.Module, image: Tensor, label: Tensor, seed=None, region=None) -> Tensor:\n"
        "    with Path('seen').open('a') as seen:\n"
        "        seen.write('x' * len(image))\n"
        "    if len(Path('seen').read_text()) == 6:\n"
        "        raise RuntimeError('lost power')\n"
        "    return image / 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    args = ["test", *QUICK, "--data.val_samples", "6", "--data.eval_batch_size", "2", "--sanity", "false"]
    args += ["--attack.evaluate", "{mine: dark.darken}"]
    with pytest.raises(RuntimeError, match="lost power"):
        main(args)
    main([*args, "--data.num_workers", "1"])
    assert [path.name for path in Path("runs").iterdir()] == ["quickstart_test"]
    assert len(Path("seen").read_text()) == 8, "of six samples, the last two were attacked again"
    assert results("quickstart_test")["metrics"]["mine"]["samples"] == 6
    assert len(Path("runs/quickstart_test/samples.csv").read_text().splitlines()) == 7

    Path("seen").write_text("xxx")
    with pytest.raises(RuntimeError, match="lost power"):
        main([*args, "--data.eval_batch_size", "3"])
    main([*args, "--seed_everything", "1"])
    assert not Path("runs/quickstart_test-2/results.json").exists(), "another seed is another evaluation"
    assert Path("runs/quickstart_test-3/results.json").is_file()
    main([*args, "--data.eval_batch_size", "3"])
    assert Path("runs/quickstart_test-2/results.json").is_file(), "though another has been begun since"


def test_an_evaluation_does_not_go_on_with_what_another_measured(tmp_path, monkeypatch):
    """Of other images, or of other weights."""
    Path("dim.py").write_text(
        "from pathlib import Path\n"
        "from torch import Tensor, nn\n"
        "def dim(network: nn.Module, image: Tensor, label: Tensor, seed=None, region=None) -> Tensor:\n"
        "    with Path('seen').open('a') as seen:\n"
        "        seen.write('x')\n"
        "    if len(Path('seen').read_text()) == 2:\n"
        "        raise RuntimeError('lost power')\n"
        "    return image\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    Path("protocol.yaml").write_text("attack: {evaluate: {mine: dim.dim}}")
    torch.save(Network("fcn_small", 5).state_dict(), "weights.pt")
    args = [*QUICK, "--config", "protocol.yaml", "--model.network.init_args.weights", "./weights.pt"]
    args += ["--data.eval_batch_size", "2", "--sanity", "false"]
    with pytest.raises(RuntimeError, match="lost power"):
        main(["test", *args])
    main(["validate", *args])
    main(["test", *args, "--trainer.limit_test_batches", "1"])
    torch.manual_seed(1)
    torch.save(Network("fcn_small", 5).state_dict(), "weights.pt")
    main(["test", *args])
    finished = {path.parent.name for path in Path("runs").glob("*/results.json")}
    assert finished == {"quickstart_protocol_validate", "quickstart_protocol-2", "quickstart_protocol-3"}
    assert results("quickstart_protocol-2")["metrics"]["mine"]["samples"] == 2


def test_an_attack_that_is_not_for_label_maps_is_one_line(capsys):
    attack = "{class_path: AutoAttack, init_args: {constraint: {class_path: Linf, init_args: {eps: 0.1}}}}"
    args = ["test", *QUICK, "--attack.evaluate", f"{{aa: {attack}}}"]
    assert "attack.evaluate.aa: AutoAttack is for image-level labels" in error_of(capsys, *args)


def test_the_sanity_gate_is_there_unless_it_is_refused():
    args = ["test", *QUICK, "--data.val_samples", "2"]
    main(args)
    assert len(results("quickstart_test")["sanity"]["checks"]) == 10
    main([*args, "--sanity", "false"])
    assert results("quickstart_test-2")["sanity"] is None


class Hostile:
    def __reduce__(self):
        return os.system, ("touch it_ran",)


CHECKPOINTS = {
    "hostile": lambda path: torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.0", "x": Hostile()}, path),
    "text": lambda path: path.write_text("hello"),
    "truncated": lambda path: path.write_bytes(Path("runs/quickstart/checkpoints/last.ckpt").read_bytes()[:3000]),
    "weights": lambda path: torch.save({"state_dict": {"fc.weight": torch.zeros(2)}}, path),
    "other": lambda path: torch.save(
        {"state_dict": {"network.fc": torch.zeros(2)}, "pytorch-lightning_version": "2.6.0"}, path
    ),
}
TOLD = {
    "hostile": "holds other things than tensors",
    "text": "not a checkpoint of a run",
    "truncated": "not a checkpoint of a run",
    "weights": "not a checkpoint of a run; other weights are given as --model.network.weights",
    "other": r"\d+ missing \(network.*1 unexpected \(network.fc\)",
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_checkpoint_that_is_none_or_of_another_network_is_one_line_and_nothing_of_it_runs(capsys, command, kind):
    Path("runs/quickstart/checkpoints").mkdir(parents=True)
    if kind == "truncated":
        main(["fit", *QUICK, "--name", "whole", "--attack.train", "null", "--attack.evaluate", "null"])
        Path("runs/whole").replace("runs/quickstart.whole")
        Path("runs/quickstart").rename("runs/empty")
        Path("runs/quickstart.whole").rename("runs/quickstart")
    path = Path("runs/quickstart/checkpoints/given.ckpt")
    CHECKPOINTS[kind](path)
    before = sorted(Path("runs").iterdir())
    with pytest.raises(SystemExit):
        main([command, *QUICK, "--ckpt_path", str(path)])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert re.search(f"given.ckpt: .*{TOLD[kind]}", line)
    assert sorted(Path("runs").iterdir()) == before
    assert not Path("it_ran").exists()


def test_a_hostile_checkpoint_that_fits_is_not_run_either():
    main(["fit", *QUICK])
    checkpoint = torch.load("runs/quickstart/checkpoints/last.ckpt", weights_only=True)
    given = "runs/quickstart/checkpoints/given.ckpt"
    torch.save(checkpoint | {"hostile": Hostile()}, given)
    for command in ("fit", "test"):
        with pytest.raises(SystemExit):
            main([command, *QUICK, "--trainer.max_epochs", "3", "--ckpt_path", given])
        assert not Path("it_ran").exists()


def test_a_checkpoint_has_all_weights_and_the_normaliser(tmp_path):
    """The file that training started from need not be there any more."""
    weights = ["--model.network.init_args.weights", "./start.pt"]
    start = Network("fcn_small", 5, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    torch.save(start.state_dict(), "start.pt")
    main(["fit", *QUICK, *weights])
    Path("start.pt").unlink()
    main(["test", *QUICK, *weights, "--ckpt_path", "last", "--sanity", "false"])
    clean = results("quickstart_test")["metrics"]["clean"]
    assert clean["loss"] == pytest.approx(results("quickstart_test")["metrics"]["clean"]["loss"])
    main(["fit", *QUICK, *weights, "--ckpt_path", "last", "--trainer.max_epochs", "3"])
    state = torch.load("runs/quickstart/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert state["network.normalize.mean"].flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_a_run_that_fails_before_its_first_step_leaves_no_checkpoint(tmp_path, monkeypatch):
    Path("unlucky.py").write_text(
        "from torch import Tensor, nn\n"
        "def fails(network: nn.Module, image: Tensor, label: Tensor, seed=None, region=None) -> Tensor:\n"
        "    raise RuntimeError('no luck')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="no luck"):
        main(["fit", *QUICK, "--attack.train", "unlucky.fails"])
    assert not Path("runs/quickstart/checkpoints/last.ckpt").exists()


def test_a_line_that_is_as_long_as_a_book_is_shortened(capsys):
    with pytest.raises(SystemExit):
        _end("data.batch_size: " + "many " * 10_000 + "of them")
    line = capsys.readouterr().err
    assert len(line) < 2100 and line.startswith("error: data.batch_size: many") and line.endswith("many of them\n")
    assert " [...] " in line


def test_a_seed_that_is_none_is_told(capsys):
    line = error_of(capsys, "fit", *QUICK, "--seed_everything", "-1")
    assert "--seed_everything -1: must be between 0 and 4294967295" in line and not Path("runs").exists()


def test_an_evaluation_of_classes_in_another_order_is_another():
    def key(**options):
        init_args = Namespace(num_workers=0, **options)
        network = Namespace(class_path="mine.Network")
        return evaluation_key(
            Namespace(
                ckpt_path=None,
                model=Namespace(network=network),
                data=Namespace(init_args=init_args),
                trainer=Namespace(),
            ),
            "test",
        )

    assert key(values={0: "a", "other": "b"}) == key(values={0: "a", "other": "b"})
    assert key(values={0: "a", 1: "b"}) != key(values={1: "b", 0: "a"}), "the order of the classes"
