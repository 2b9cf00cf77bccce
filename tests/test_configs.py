"""Every config parses, instantiates, and survives a few steps on tiny data in the real format."""

import re
from pathlib import Path

import pytest
import yaml
from tiny_data import write_camvid, write_coco, write_voc

from cli import main

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))

WRITERS = {"COCO": write_coco, "VOC": write_voc, "SegmentationFolder": write_camvid, "Shapes": lambda root: None}

SMALL = [
    *("--trainer.accelerator", "cpu", "--trainer.logger", "false", "--trainer.limit_train_batches", "2"),
    *("--trainer.limit_val_batches", "2", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"),
    *("--trainer.check_val_every_n_epoch", "1"),
    *("--data.num_workers", "0", "--data.batch_size", "2"),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_config_runs(config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(config.read_text())
    data = content["data"]["class_path"]
    WRITERS[data](Path("data"))
    classes = content["model"]["network"]["init_args"]["num_classes"]
    network = [
        "--model.network.init_args",
        f"{{name: fcn_small, num_classes: {classes}, backbone_weights: null, aux: false}}",
    ]
    size = [] if data == "Shapes" else ["--data.root", "data", "--data.crop", "32", "--data.eval_size", "32"]
    main(["fit", "--config", config.name, *SMALL, *network, *size])
    assert Path("runs", config.stem, "results.json").is_file()
    assert Path("runs", config.stem, "checkpoints", "last.ckpt").is_file()
    assert list(Path("runs", config.stem, "gallery").glob("inpainting/*/epoch_0000.png"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_for_people(config):
    """One screen, a header with paper or purpose, the expected result and the exact command, no includes."""
    text = config.read_text()
    lines = text.splitlines()
    assert len(lines) <= 80 and max(map(len, lines)) <= 120
    header = "\n".join(line for line in lines[:10] if line.startswith("#"))
    assert re.search(r"It got|Expected", header)
    assert f"python cli.py fit --config {config.name}" in header
    assert not re.search(r":\s*\S+\.ya?ml\s*$", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "depth", "epochs"), [("at50", 50, 9), ("at101", 101, 3)])
def test_the_papers_settings(name, depth, epochs):
    config = yaml.safe_load((CONFIGS[0].parent / f"{name}.yaml").read_text())
    network = config["model"]["network"]["init_args"]
    assert (network["name"], network["num_classes"]) == (f"fcn_resnet{depth}", 21)
    assert config["trainer"]["max_epochs"] == epochs
    for attack in (config["attack"]["train"], config["attack"]["evaluate"]["pgd"]):
        assert attack["class_path"] == "PGD"
        settings = attack["init_args"]
        assert settings["constraint"] == {"class_path": "Linf", "init_args": {"eps": 0.03}}
        assert (settings["steps"], settings["step_size"]) == (3, 0.01)
    assert config["trainer"]["logger"]["class_path"].endswith("WandbLogger")
