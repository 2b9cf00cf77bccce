"""Networks of runs, and by name."""

from pathlib import Path

import networks
import pytest
import torch
import yaml
from jsonargparse import Namespace
from one_line import one_line
from saved_run import save_run

from command_line import UserError
from lightning_modules import Network, NetworkError
from trained_network import by_name, of_run

CLASSES = ["sky", "road", "tree"]


def named(name, classes, weights=None):
    return by_name(Namespace(name=name, num_classes=classes, weights=weights), 0)


def change(run, **sections):
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | sections))


def test_a_run_gives_its_network_with_the_weights_of_its_last_checkpoint(tmp_path):
    run = save_run(tmp_path / "mine", factor=0.5)
    found = of_run(str(run))
    assert (found.name, found.classes, found.size, found.folder) == ("mine", CLASSES, 24, run)
    assert not found.network.training
    for name, value in networks.fcn().state_dict().items():
        assert torch.equal(found.network.state_dict()[name], (value * 0.5).to(value)), name
    by_file = of_run(str(run / "checkpoints" / "last.ckpt"))
    assert (by_file.name, by_file.source) == ("mine", found.source)


def test_another_checkpoint_has_a_name_of_its_own(tmp_path):
    run = save_run(tmp_path / "mine")
    (run / "checkpoints" / "last.ckpt").rename(run / "checkpoints" / "best.ckpt")
    assert of_run(str(run / "checkpoints" / "best.ckpt")).name == "mine_best"
    with pytest.raises(UserError, match=one_line(f"--run {run}: {run} has no checkpoints/last.ckpt")):
        of_run(str(run))


@pytest.mark.parametrize(
    ("data", "size"),
    [({"eval_size": 24}, 24), ({"eval_size": [24, 32]}, (24, 32)), ({"eval_size": None}, None), ({"resize": 256}, 256),
     ({"size": 32, "padding": 4}, 32), ({"size": 0.5}, None), ({"size": True}, None), ({"other": 3}, None)],
)  # fmt: skip
def test_the_size_is_that_of_the_runs_evaluation(tmp_path, data, size):
    assert of_run(str(save_run(tmp_path / "run", data=data))).size == size


def test_weights_that_training_started_from_need_not_be_there_any_more(tmp_path):
    run = save_run(tmp_path / "run")
    network = Network("resnet_small", 3)
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    torch.save({"pytorch-lightning_version": "2", "state_dict": state}, run / "checkpoints" / "last.ckpt")
    options = {"name": "resnet_small", "num_classes": 3, "weights": "/nowhere/w.pt", "backbone_weights": "./gone.pt"}
    change(run, model={"network": {"class_path": "lightning_modules.Network", "init_args": options}})
    found = of_run(str(run))
    assert found.classes == [] and found.network.name == "resnet_small"


def test_the_training_images_are_those_of_the_config(tmp_path):
    run = save_run(tmp_path / "run")
    change(run, data={"class_path": "Shapes", "init_args": {"size": 16, "train_samples": 5, "labels": "class"}})
    found = of_run(str(run))
    images = found.training_images()
    assert len(images) == 5 and images[0]["image"].shape == (3, 16, 16) and found.size == 16


@pytest.mark.parametrize(
    ("sections", "line"),
    [({"model": None}, "config.yaml: says no model.network"),
     ({"model": {"network": {"class_path": "networks.fnc"}}}, "config.yaml: model.network: networks.fnc: networks has"),
     ({"model": {"network": {"class_path": "networks.fcn", "init_args": {"clases": 3}}}}, "clases"),
     ({"model": {"network": {"class_path": "networks.fcn", "init_args": {"classes": 4}}}}, "weight"),
     ({"model": {"network": {"class_path": "networks.per_pixel"}}}, "last.ckpt: the weights do not fit: 2 missing"),
     ({"model": {"network": {"class_path": "os.system"}}}, "of Python's own library")],
)  # fmt: skip
def test_a_config_that_makes_no_such_network_is_told(tmp_path, sections, line):
    run = save_run(tmp_path / "run")
    change(run, **sections)
    with pytest.raises((UserError, NetworkError), match=one_line(line)):
        of_run(str(run))


def test_what_is_no_run_is_told(tmp_path):
    save_run(tmp_path / "mine")
    with pytest.raises(UserError, match=one_line(f"--judge {tmp_path}/mien: no such run; did you mean", "mine?")):
        of_run(f"{tmp_path}/mien", "--judge")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=one_line("folder: no run: there is no", "folder/config.yaml")):
        of_run(f"{tmp_path}/folder")
    weights = tmp_path / "weights.pt"
    torch.save({}, weights)
    with pytest.raises(UserError, match=one_line("weights.pt: no run", "--network.name")):
        of_run(str(weights))


def test_a_network_by_its_name_has_the_weights_and_the_classes_of_a_file(tmp_path):
    network = Network("resnet_small", 3)
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    content = {"pytorch-lightning_version": "2", "state_dict": state, "training": {"classes": CLASSES}}
    torch.save(content, tmp_path / "w.ckpt")
    found = named("resnet_small", 3, str(tmp_path / "w.ckpt"))
    assert (found.name, found.classes, found.size) == ("resnet_small", CLASSES, 256)
    assert all(torch.equal(found.network.state_dict()[key], value) for key, value in network.state_dict().items())


def test_random_weights_are_those_of_a_seed_and_warned_of():
    with pytest.warns(UserWarning, match="an untrained network paints"):
        one, other = (named("fcn_small", 3) for _ in range(2))
    assert all(torch.equal(value, other.network.state_dict()[key]) for key, value in one.network.state_dict().items())
    assert one.size == 520, "that of segmentation networks"


def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tmp_path):
    run = save_run(tmp_path / "run")
    folder = run / "checkpoints"
    whole = (folder / "last.ckpt").read_bytes()
    (folder / "previous.ckpt").write_bytes(whole)
    (folder / "last.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="previous.ckpt"):
        assert Path(of_run(str(run)).source["checkpoint"]).name == "previous.ckpt"
