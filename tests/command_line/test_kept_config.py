"""The config that a run keeps, taken back."""

from pathlib import Path

import pytest
import yaml
from jsonargparse import Namespace
from test_cli import QUICK, results

from cli import main
from command_line.kept_config import described, mark, name_of, plain, take_back

ONE = [*QUICK, "--trainer.max_epochs", "1"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLE_DEBUG", raising=False)


def test_functions_go_by_their_names():
    config = Namespace(evaluate={"mine": name_of}, eps=0.1)
    assert plain(config) == {"evaluate": {"mine": "command_line.kept_config.name_of"}, "eps": 0.1}


def test_a_resumed_runs_config_starts_a_run_of_its_own_and_goes_on_in_its_own():
    main(["fit", *ONE, "--name", "r"])
    main(["fit", *QUICK, "--name", "r", "--ckpt_path", "last"])
    kept = yaml.safe_load(Path("runs/r/config.yaml").read_text())
    assert (kept["ckpt_path"], kept["name"], kept["trainer"]["max_epochs"]) == (None, None, 2)
    main(["fit", "--config", "runs/r/config.yaml", "--seed_everything", "5"])
    assert results("r-2")["steps"] == 4 and results("r-2")["metrics"]
    main(["fit", "--config", "runs/r/config.yaml", "--trainer.max_epochs", "3", "--ckpt_path", "last"])
    assert results("r")["steps"] == 6 and results("r-2")["steps"] == 4, "though r-2 is newer"
    main(["validate", "--config", "runs/r/config.yaml", "--ckpt_path", "last", "--sanity", "false"])
    assert results("r_validate")["checkpoint"]["path"] == "runs/r/checkpoints/last.ckpt"


def test_the_weights_that_training_started_from_stay_in_it():
    """Though a run that goes on takes them from its checkpoint."""
    main(["fit", *ONE, "--name", "start"])
    weights = "runs/start/checkpoints/last.ckpt"
    args = [*QUICK, "--model.network.init_args.weights", weights]
    main(["fit", *args, "--trainer.max_epochs", "1"])
    main(["fit", *args, "--ckpt_path", "last"])
    kept = yaml.safe_load(Path("runs/quickstart/config.yaml").read_text())
    assert kept["model"]["network"]["init_args"]["weights"] == weights


OPTIONS = {"project": "x", "id": None, "name": None, "save_dir": "."}


def config(name=None, ckpt_path=None, file=None, folder=None, logger=None):
    options = Namespace(**OPTIONS | (logger or {}))
    wandb = Namespace(class_path="lightning.pytorch.loggers.WandbLogger", init_args=options)
    trainer = Namespace(default_root_dir=folder, logger=wandb)
    return Namespace(
        config=[file] if file else None, name=name, ckpt_path=ckpt_path, weights_only=None, trainer=trainer
    )


OWN = {"id": "abcd1234", "name": "w", "save_dir": "runs/w"}
OLD = config("w", "runs/w/checkpoints/last.ckpt", folder="runs/w", logger=OWN)


@pytest.fixture
def kept():
    Path("runs/w").mkdir(parents=True)
    path = Path("runs/w/config.yaml")
    path.write_text(yaml.safe_dump(OLD.as_dict()))
    return str(path)


@pytest.mark.parametrize("place", ["runs/w/config.yaml", "copied.yaml"])
def test_what_was_the_runs_own_is_not_taken_back(kept, place):
    """Also from the files of earlier versions, wherever they were copied."""
    Path(kept).rename(place)
    taken = OLD.clone()
    taken.config = [place]
    take_back(taken, "fit", ["--seed_everything", "7"])
    assert taken.trainer.logger.init_args.as_dict() == OPTIONS
    assert (taken.name, taken.ckpt_path, taken.trainer.default_root_dir) == (None, None, None)


def test_what_is_asked_for_stays(kept):
    taken = OLD.clone()
    taken.config = [kept]
    taken.trainer.logger.init_args.save_dir = "/elsewhere"
    arguments = ["--ckpt_path=runs/w/checkpoints/last.ckpt", "--trainer.logger.init_args.id", "abcd1234", "--name", "w"]
    take_back(taken, "fit", arguments)
    assert (taken.name, taken.ckpt_path) == ("w", OLD.ckpt_path)
    options = taken.trainer.logger.init_args
    assert (options.id, options.name, options.save_dir) == ("abcd1234", None, "/elsewhere")
    again = OLD.clone()
    again.config = [kept]
    take_back(again, "validate", [])
    assert again.ckpt_path == OLD.ckpt_path, "it is what is measured"


def test_a_config_that_no_run_has_kept_is_left_alone():
    Path("mine.yaml").write_text("trainer: {max_epochs: 3}\nname: mine\n")
    taken = config("mine", "some.ckpt", "mine.yaml", logger={"id": "x"})
    before = taken.clone()
    take_back(taken, "fit", [])
    assert taken == before


def test_it_says_where_the_run_has_its_dashboard():
    given = config("w", "some.ckpt")
    kept = described(given, "fit")
    given.trainer.default_root_dir = "runs/w"
    given.trainer.logger.init_args.update(Namespace(**OWN))
    mark(kept, given)
    assert kept.trainer.logger.init_args.as_dict() == OPTIONS | OWN
    assert (kept.name, kept.ckpt_path) == (None, None)
    assert described(given, "test").ckpt_path == "some.ckpt"


def test_names():
    assert name_of(Path("runs/w/config.yaml")) == "w" and name_of(Path("configs/at50.yaml")) == "at50"
