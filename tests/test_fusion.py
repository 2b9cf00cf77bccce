"""Fused networks from the command line: trained, tested, attacked, painted with, and loaded without their sources."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from tiny_classification import write_cifar10
from tiny_data import write_camvid

from cli import main
from lightning_modules import LateFusion, Network
from trained_network import of_run

SMALL = [
    *("--trainer.accelerator", "cpu", "--trainer.logger", "false", "--trainer.enable_progress_bar", "false"),
    *("--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1", "--trainer.callbacks", "[]"),
    *("--data.num_workers", "0", "--data.batch_size", "4"),
]
CIFAR10 = [
    *("--config", "transfer_fusion.yaml", "--data.root", "data", "--data.size", "16", "--data.padding", "2", *SMALL),
    *("--model.network.networks.0.name", "resnet_small", "--model.network.networks.1.name", "mnist_cnn"),
    *("--attack.evaluate.pgd.steps", "2"),
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cifar10(Path("data"))


def results(run):
    return json.loads(Path("runs", run, "results.json").read_text())


def error_of(capsys, *args):
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    assert ended.value.code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def start(name):
    torch.manual_seed(1)
    network = Network(name, 7)
    torch.save(network.state_dict(), f"{name}.pt")
    return network, ["--model.network.networks.0.backbone_weights", f"./{name}.pt"]


def test_from_training_to_painting_without_the_weights_it_started_from(capsys):
    network, weights = start("resnet_small")
    main(["fit", *CIFAR10, *weights, "--model.frozen", "[networks.0]"])
    Path("resnet_small.pt").unlink()
    trained = of_run("runs/transfer_fusion").network
    assert isinstance(trained, LateFusion) and trained.layers == ["model.fc", "model.classifier.3"]
    state = trained.networks[0].state_dict()
    kept = {key: value for key, value in network.state_dict().items() if not key.startswith("model.fc.")}
    assert state.keys() == kept.keys() and all(torch.equal(state[key], value) for key, value in kept.items())
    main(["test", *CIFAR10, *weights, "--ckpt_path", "last"])
    for version, found in results("transfer_fusion_test")["metrics"].items():
        assert found["loss"] == pytest.approx(results("transfer_fusion")["metrics"][version]["loss"], rel=1e-5)
    main(["paint", "Inversion", "--run", "runs/transfer_fusion", "--samples", "2", "--out", "out", "--task.steps", "2"])
    assert Path("out/contact_sheet.png").is_file()
    main(["report", "runs/transfer_fusion", "runs/transfer_fusion_test"])
    assert "transfer_fusion_test" in capsys.readouterr().out


def test_trained_networks_are_fused_as_they_are(capsys):
    """By probabilities nothing is new, so that no training is needed: from a run's checkpoint and a file."""
    main(["fit", "--config", "transfer.yaml", *CIFAR10[2:-6], "--model.network.name", "resnet_small"])
    torch.save(Network("resnet_small", 10).state_dict(), "other.pt")
    own = [{"name": "resnet_small", "num_classes": 10, "weights": each}
           for each in ("runs/transfer/checkpoints/last.ckpt", "./other.pt")]  # fmt: skip
    members = yaml.safe_dump([{"class_path": "Network", "init_args": each} for each in own], default_flow_style=True)
    args = [*CIFAR10[:-6], "--model.network.join", "probabilities", "--model.network.networks", members]
    capsys.readouterr()
    main(["test", *args])
    assert "an untrained network is measured" not in capsys.readouterr().err
    assert results("transfer_fusion_test")["metrics"]["clean"]["samples"] > 0
    Path("other.pt").unlink()
    assert "other.pt: no such weights file" in error_of(capsys, "test", *args)


def test_segmentation_networks_with_strong_attacks(tmp_path):
    write_camvid(tmp_path / "camvid")
    fused = {
        "num_classes": 11,
        "networks": [{"class_path": "Network", "init_args": {"name": "fcn_small", "num_classes": 11}}] * 2,
    }
    network = yaml.safe_dump({"class_path": "LateFusion", "init_args": fused}, default_flow_style=True)
    args = ["--config", "camvid.yaml", *SMALL, "--data.root", "camvid", "--data.crop", "32", "--data.eval_size", "32"]
    main(["fit", *args, "--model.network", network, "--model.lr_multipliers", "{head: 2}"])
    sea = ["--config", "eval_sea.yaml", "--trainer.limit_test_batches", "1"]
    content = yaml.safe_load((Path(__file__).parent.parent / "configs" / "eval_sea.yaml").read_text())
    few = [
        word for name in content["attack"]["evaluate"] for word in (f"--attack.evaluate.{name}.init_args.steps", "3")
    ]
    main(["test", *args, *sea, *few, "--model.network", network, "--ckpt_path", "last"])
    assert set(content["attack"]["evaluate"]) < set(results("camvid_eval_sea")["metrics"])


@pytest.mark.parametrize(
    ("args", "line"),
    [(["--model.network.num_classes", "5"], "LateFusion: 5 outputs, and the data have 10 classes: set its num_classes"),
     (["--model.network.networks", "[Network]"], "name"),
     (["--model.network.networks.0.name", "fcn_small"], "LateFusion: networks.0 (fcn_small) gives logits of 16 x 16"),
     (["--model.network.networks.0.name", "lraspp_mobilenet_v3_large"], "gives logits of 16 x 16 pixels"),
     (["--model.network.networks.1.weights", "./gone.pt"], "gone.pt: no such weights file"),
     (["--model.network.networks.2.weights", "./gone.pt"], "no item 2 here; there are 2, from 0"),
     (["--model.network.join", "votes"], "model.network.join:"),
     (["--model.network.layers", "[model.fc, model.fc]"], "networks.1 has no 'model.fc'; it has"),
     (["--model.frozen", "[networks.2]"], "frozen: the network has no part 'networks.2'")],
)  # fmt: skip
def test_a_mistake_is_one_line(args, line, capsys):
    assert line in error_of(capsys, "fit", *CIFAR10, *args)
    assert not Path("runs").exists()
