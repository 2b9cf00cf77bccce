"""Weights from files of every known layout; what hostile files can do is tested with unpickling."""

import os
import re
import resource

import pytest
import torch
from checkpoints import MEAN, STD, prefixed, robustness, trained
from networks import seeded
from one_line import one_line
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models

from cli import main
from lightning_modules import Network, NetworkError
from lightning_modules.network import IMAGENET_MEAN, IMAGENET_STD, Normalize
from lightning_modules.weights import (
    _unusable,
    check_checkpoint,
    convert,
    load_backbone,
    load_checkpoint,
    load_weights,
    read_weights,
)


class Tiny(nn.Module):
    """What `Network` has, smaller."""

    def __init__(self, mean=IMAGENET_MEAN, std=IMAGENET_STD):
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def small():
    return seeded(Tiny)


def other():
    """One with other weights, statistics and normaliser."""
    network = seeded(lambda: Tiny(MEAN, STD))
    for value in network.model.state_dict().values():
        value += 1
    return network


def same(network, expected):
    """Whether the network has exactly these values, under these names."""
    state = network.state_dict()
    return state.keys() == expected.keys() and all(torch.equal(value, expected[key]) for key, value in state.items())


def refused(path, module=None, load=load_weights):
    """The error's message, which is one line that names the file; the module is as it was."""
    module = module or small()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(NetworkError, match=one_line()) as error:
        load(module, path)
    assert same(module, before)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


# State dicts and checkpoints.


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "callbacks": {"a": [1, "b", None]}},
        lambda state: {"state_dict": prefixed("network.", state), "epoch": 3},
        lambda state: {"state_dict": prefixed("network.", state) | {"loss.weight": torch.zeros(3)}},
        lambda state: prefixed("network.", state),
        lambda state: {"model_state_dict": prefixed("module.", state)},
    ],
    ids=["state dict", "checkpoint", "checkpoint of ours", "of ours with a loss", "with prefix", "parallel"],
)
def test_weights_are_read_from_a_state_dict_or_a_checkpoint(tmp_path, wrap):
    module, saved = small(), other().state_dict()
    torch.save(wrap(saved), tmp_path / "weights.pt")
    load_weights(module, tmp_path / "weights.pt")
    assert same(module, saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("model.0.bias"), r"1 missing \(model.0.bias\)"),
        (lambda state: state.update(extra=torch.zeros(1)), r"1 unexpected \(extra\)"),
        (lambda state: state.update({"model.0.weight": torch.zeros(3, 4)}), r"1 of another shape \(model.0.weight\)"),
        (lambda state: state.update({"normalize.mean": torch.zeros(1)}), r"1 of another shape \(normalize.mean\)"),
        (
            lambda state: [state.pop(key) for key in list(state) if key != "model.1.bias"],
            r"5 missing \(model.0.bias, model.0.weight, model.1.running_mean, ...\)",
        ),
        (lambda state: state.clear(), "no state dict; save one"),
    ],
    ids=["missing", "unexpected", "shape", "normaliser", "most", "empty"],
)
def test_weights_that_do_not_fit_are_named_and_none_is_loaded(tmp_path, change, message):
    state = other().state_dict()
    change(state)
    torch.save(state, tmp_path / "weights.pt")
    assert re.search(message, refused(tmp_path / "weights.pt"))


def test_all_misfits_are_told_at_once(tmp_path):
    state = other().state_dict()
    state["model.0.extra"] = state.pop("model.0.bias")
    state["model.0.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "weights.pt")
    message = refused(tmp_path / "weights.pt")
    expected = "1 missing (model.0.bias); 1 unexpected (model.0.extra); 1 of another shape (model.0.weight)"
    assert expected in message
    assert "num_classes" in message


def test_files_from_before_batch_norm_counted_are_read(tmp_path):
    """Those of torch before 0.4.1 lack `num_batches_tracked`."""
    module, saved = small(), other().state_dict()
    count = saved.pop("model.1.num_batches_tracked")
    torch.save(saved, tmp_path / "weights.pt")
    load_weights(module, tmp_path / "weights.pt")
    assert count == 1
    assert same(module, saved | {"model.1.num_batches_tracked": torch.tensor(0)})


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return open, (str(self.victim), "w")


@pytest.mark.parametrize("plant", [lambda evil: evil, lambda evil: {**small().state_dict(), "extra": evil}])
def test_a_hostile_file_is_refused_and_does_not_run(tmp_path, plant):
    victim, path = tmp_path / "created", tmp_path / "weights.pt"
    torch.save(plant(Hostile(victim)), path)
    refused(path)
    assert not victim.exists()
    torch.load(path, weights_only=False)  # the plant is a working one
    assert victim.exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("text", ["", "hello\n", "<!DOCTYPE html>", "URL not found", "X", "\n\n", "PK\x03\x04", "\x80"])
def test_a_file_that_is_no_torch_file_is_refused(tmp_path, text, name):
    path = tmp_path / name
    path.write_text(text)
    assert "not a file of weights" in refused(path)


@pytest.mark.parametrize(
    "content",
    [torch.zeros(3), [torch.zeros(3)], {"0.weight": "text"}, {"state_dict": torch.zeros(3)}, {0: torch.zeros(3)}, {}],
    ids=["tensor", "list", "text", "no dict", "numbered", "nothing"],
)
def test_tensors_that_are_no_state_dict_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    refused(tmp_path / "weights.pt")


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert refused(tmp_path / "weights.pt").endswith("no such weights file")
    assert refused(tmp_path / ("long" * 100)).endswith("no such weights file")


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16, torch.double])
def test_weights_of_another_precision_become_the_networks(tmp_path, dtype):
    module, saved = small(), other().to(dtype).state_dict()
    torch.save(saved, tmp_path / "weights.pt")
    load_weights(module, tmp_path / "weights.pt")
    assert same(module, {key: value.to(module.state_dict()[key].dtype) for key, value in saved.items()})


# The robustness library.


@pytest.fixture(scope="module")
def resnet18():
    return trained(models.resnet18(num_classes=4))


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_checkpoint_of_the_robustness_library_is_a_whole_network(tmp_path, resnet18, form):
    path = tmp_path / "imagenet_l2_3_0.pt"
    robustness(path, resnet18, form)
    network = Network("resnet18", 4, weights=str(path))
    assert same(network.model, resnet18.state_dict())
    assert torch.equal(network.normalize.mean.flatten(), torch.tensor(MEAN))
    assert torch.equal(network.normalize.std.flatten(), torch.tensor(STD))
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path, weights_only=True)  # torch's own safe way does not read it


@pytest.fixture(scope="module")
def resnet50():
    return trained(models.resnet50(num_classes=4))


@pytest.fixture(scope="module")
def fcn():
    return Network("fcn_resnet50", 21)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_checkpoint_of_the_robustness_library_is_a_backbone(tmp_path, resnet50, fcn, form):
    robustness(tmp_path / "imagenet_l2_3_0.pt", resnet50, form)
    for value in fcn.model.backbone.state_dict().values():
        value.zero_()
    head = {key: value.clone() for key, value in fcn.model.classifier.state_dict().items()}
    load_backbone(fcn, tmp_path / "imagenet_l2_3_0.pt")
    expected = {key: value for key, value in resnet50.state_dict().items() if not key.startswith("fc.")}
    assert same(fcn.model.backbone, expected)
    assert same(fcn.model.classifier, head)
    assert torch.equal(fcn.normalize.mean.flatten(), torch.tensor(MEAN))
    assert torch.equal(fcn.normalize.std.flatten(), torch.tensor(STD))


def test_a_backbone_that_does_not_fit_changes_nothing(tmp_path, resnet18, fcn):
    robustness(tmp_path / "weights.pt", resnet18)
    message = refused(tmp_path / "weights.pt", fcn, load_backbone)
    assert "missing (model.backbone.layer1.0.bn3.bias" in message
    assert "of another shape (model.backbone.layer1.0.conv1.weight" in message
    assert "fc" not in message.removeprefix(str(tmp_path))


def test_another_normaliser_than_that_of_the_weights_is_refused(tmp_path, resnet18):
    """They would be a little wrong."""
    robustness(tmp_path / "weights.pt", resnet18)
    for options, name in (({"mean": (0, 0, 0), "std": STD}, "mean"), ({"std": (1, 1, 1)}, "std")):
        with pytest.raises(
            NetworkError, match=one_line("weights.pt", f"trained behind {name}=", "mean and std to null")
        ):
            Network("resnet18", 4, weights=str(tmp_path / "weights.pt"), **options)
    given = Network("resnet18", 4, weights=str(tmp_path / "weights.pt"), mean=MEAN)
    assert torch.equal(given.normalize.std.flatten(), torch.tensor(STD))


def test_a_normaliser_that_is_given_serves_a_file_without(tmp_path, resnet18):
    torch.save(resnet18.state_dict(), tmp_path / "weights.pt")
    given = Network("resnet18", 4, weights=str(tmp_path / "weights.pt"), mean=(0, 0, 0), std=(1, 1, 1))
    assert same(given.model, resnet18.state_dict())
    assert given.normalize.mean.flatten().tolist() == [0, 0, 0]


def test_a_network_of_no_usual_normaliser_is_not_given_imagenets(tmp_path):
    """RobustBench's files of networks that took pixels as they are would load, and be a little wrong."""
    path = tmp_path / "weights.pt"
    torch.save(Network("resnet_small", 3).model.state_dict(), path)
    for options in ({}, {"mean": (0, 0, 0)}):
        with pytest.raises(NetworkError, match=one_line("weights.pt", "without their normaliser", "[0, 0, 0]")):
            Network("resnet_small", 3, weights=str(path), **options)
    assert Network("resnet_small", 3, weights=str(path), mean=(0, 0, 0), std=(1, 1, 1)).normalize.std.mean() == 1


def test_a_normaliser_that_may_be_wrong_is_told(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(Network("resnet_small", 3).model.state_dict(), path)
    with pytest.warns(UserWarning, match="come without their normaliser, so mean and std are those that were given"):
        Network("resnet_small", 3, weights=str(path), mean=MEAN, std=STD)


@pytest.mark.parametrize(
    ("key", "value"), [("model.fc.weight", torch.nan), ("normalize.mean", torch.inf), ("normalize.std", 0.0)]
)
def test_values_that_cannot_be_computed_with_are_refused(tmp_path, key, value):
    path, state = tmp_path / "weights.pt", Network("resnet18", 4).state_dict()
    state[key].view(-1)[0] = value
    torch.save(state, path)
    with pytest.raises(NetworkError, match=one_line("weights.pt", key, "cannot be computed with")):
        Network("resnet18", 4, weights=str(path))


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("model.1.running_var", lambda value: value - 10, "a variance below 0"),
        ("model.0.weight", lambda value: value.double() * 1e300, "NaN or infinite"),
        ("model.0.weight", lambda value: value.to(torch.int8), "is int8 where the network's is float32"),
        ("model.0.bias", lambda value: value > 0, "is bool where the network's is float32"),
        ("model.0.bias", lambda value: value.to(torch.cfloat), "is complex64 where the network's is float32"),
        ("model.0.bias", lambda value: value[:0], "of another shape (model.0.bias)"),
        ("model.0.bias", lambda value: value.to_sparse(), "'model.0.bias' is no plain tensor"),
        ("model.0.bias", lambda value: value.to("meta"), "'model.0.bias' is no plain tensor"),
        ("model.0.bias", lambda value: value.numpy(), "'model.0.bias' is no plain tensor"),
        ("normalize.mean", lambda value: value * 255, "is for pixels of 0 to 255; ours are of 0 to 1"),
    ],
)
def test_tensors_of_another_kind_are_refused(tmp_path, key, change, message):
    state = other().state_dict()
    state[key] = change(state[key])
    torch.save(state, tmp_path / "weights.pt")
    assert message in refused(tmp_path / "weights.pt")


@pytest.mark.filterwarnings("ignore:.*quantize")
def test_quantized_weights_are_refused(tmp_path):
    state = other().state_dict()
    state["model.0.bias"] = torch.quantize_per_tensor(state["model.0.bias"], 0.1, 0, torch.qint8)
    torch.save(state, tmp_path / "weights.pt")
    assert "'model.0.bias' is no plain tensor" in refused(tmp_path / "weights.pt")


def test_a_variance_of_0_is_one():
    """Of a channel that is never active."""
    assert _unusable("model.1.running_var", torch.zeros(3), torch.ones(3)) is None


def test_a_counter_may_be_of_any_type(tmp_path):
    """Averaged weights average them too."""
    module, saved = small(), other().state_dict()
    saved["model.1.num_batches_tracked"] = torch.tensor(7.6)
    torch.save(saved, tmp_path / "weights.pt")
    load_weights(module, tmp_path / "weights.pt")
    assert module.model[1].num_batches_tracked == 7


def test_a_backbone_brings_its_normaliser(tmp_path):
    network = Network("lraspp_mobilenet_v3_large", 3)
    state = prefixed("module.model.backbone.", network.model.backbone.state_dict())
    for name, values in (("mean", MEAN), ("std", STD)):
        state[f"module.normalizer.new_{name}"] = torch.tensor(values).view(3, 1, 1)
    torch.save({"model": state}, tmp_path / "weights.pt")
    weights = {"backbone_weights": str(tmp_path / "weights.pt")}
    for options in ({}, {"mean": MEAN, "std": STD}):
        loaded = Network("lraspp_mobilenet_v3_large", 5, **weights, **options)
        assert same(loaded.model.backbone, network.model.backbone.state_dict())
        assert torch.equal(loaded.normalize.mean.flatten(), torch.tensor(MEAN))
    with pytest.raises(NetworkError, match="trained behind mean"):
        Network("lraspp_mobilenet_v3_large", 5, **weights, mean=(0, 0, 0))


def set_to(name, make):
    return lambda state: state.update({name: make(state[name])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_to("attacker.model.0.weight", lambda value: value + 1e-6), "attacker.model.0.weight and its copy differ"),
        (set_to("attacker.model.1.running_var", lambda value: value[:2]), "attacker.model.1.running_var and its copy"),
        (lambda state: state.pop("model.0.bias"), "attacker.model.0.bias and its copy differ"),
        (lambda state: state.pop("normalizer.new_mean"), "normalizer.new_mean is missing"),
        (lambda state: state.pop("normalizer.new_std"), "normalizer.new_std is missing"),
    ],
    ids=["values", "shape", "no copy", "no mean", "no std"],
)
def test_a_damaged_checkpoint_of_the_robustness_library_is_refused(tmp_path, change, message):
    robustness(tmp_path / "weights.pt", other().model, change=change)
    assert message in refused(tmp_path / "weights.pt")


def test_the_copy_of_the_weights_may_be_absent(tmp_path):
    def change(state):
        for key in [key for key in state if key.startswith("attacker")]:
            del state[key]

    module = small()
    robustness(tmp_path / "weights.pt", other().model, change=change)
    load_weights(module, tmp_path / "weights.pt")
    assert same(module, other().state_dict())


# RobustBench.


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: prefixed("module.", state),
        lambda state: {"state_dict": state},
        lambda state: {"state_dict": prefixed("module.", state), "epoch": 3},
        lambda state: {"model_state_dict": prefixed("module.", state), "unlabeled": {"a": 1}},
        lambda state: prefixed("module.model.", state),
        lambda state: {"state_dict": prefixed("model.", state)},
        lambda state: state | {"sub_block1.layer.0.conv1.weight": torch.zeros(2, 2, 3, 3)},
        lambda state: prefixed("module.", state | {"sub_block1.layer.0.bn1.running_mean": torch.zeros(2)}),
    ],
    ids=[
        *("plain", "parallel", "checkpoint", "parallel checkpoint", "model_state_dict", "parallel model", "model"),
        *("sub_block1", "parallel sub_block1"),
    ],
)
def test_layouts_of_robustbench(tmp_path, wrap):
    module = small()
    torch.save(wrap(other().model.state_dict()), tmp_path / "weights.pt")
    load_weights(module, tmp_path / "weights.pt")
    assert same(module.model, other().model.state_dict())
    assert same(module.normalize, small().normalize.state_dict()), "the file has none"


@pytest.mark.parametrize("parallel", ["", "module."])
@pytest.mark.parametrize(
    ("names", "shape", "prefix"),
    [
        (("mean", "std"), (3, 1, 1), ""),
        (("mu", "sigma"), (3, 1, 1), ""),
        (("mu", "sigma"), (1, 3, 1, 1), ""),
        (("normalize.mean", "normalize.std"), (1, 3, 1, 1), "model."),
        (("normalize.mean", "normalize.std"), (3,), "model."),
    ],
)
def test_normalisers_of_robustbench(tmp_path, names, shape, prefix, parallel):
    module = small()
    normaliser = {name: torch.tensor(values).view(shape) for name, values in zip(names, (MEAN, STD), strict=True)}
    state = normaliser | prefixed(prefix, other().model.state_dict())
    torch.save(prefixed(parallel, state), tmp_path / "weights.pt")
    load_weights(module, tmp_path / "weights.pt")
    assert same(module, other().state_dict())
    with pytest.raises(NetworkError, match="trained behind mean"):
        load_weights(small(), tmp_path / "weights.pt", keep=["normalize.mean", "normalize.std"])


# torchvision's segmentation networks.


def test_an_auxiliary_head_in_the_file_is_left_out_of_a_network_without_one(tmp_path):
    name, path = "deeplabv3_mobilenet_v3_large", str(tmp_path / "weights.pth")
    published = models.get_model(name, weights=None, weights_backbone=None, num_classes=3, aux_loss=True)
    torch.save(published.state_dict(), path)
    without, with_aux = Network(name, 3, weights=path), Network(name, 3, weights=path, aux=True)
    backbone = Network(name, 5, backbone_weights=path)
    assert same(with_aux.model, published.state_dict())
    main = {key: value for key, value in published.state_dict().items() if not key.startswith("aux_classifier.")}
    assert main.keys() < published.state_dict().keys()
    assert same(without.model, main)
    assert same(backbone.model.backbone, published.backbone.state_dict())
    torch.save(main, path)
    with pytest.raises(NetworkError, match=one_line("missing (model.aux_classifier.0.weight")):
        Network(name, 3, weights=path, aux=True)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "network.model._orig_mod.", "encoder.net."])
def test_a_backbone_is_found_under_any_prefix(tmp_path, resnet50, fcn, prefix):
    state = prefixed(prefix, resnet50.state_dict())
    torch.save({"state_dict": state, "optimizer": {}}, tmp_path / "weights.pt")
    for value in fcn.model.backbone.state_dict().values():
        value.zero_()
    load_backbone(fcn, tmp_path / "weights.pt")
    expected = {key: value for key, value in resnet50.state_dict().items() if not key.startswith("fc.")}
    assert same(fcn.model.backbone, expected)


def test_the_backbone_of_a_segmentation_network_is_no_classifier(tmp_path, fcn):
    torch.save(fcn.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(NetworkError, match=one_line("weights.pt", "2 missing (model.fc.bias, model.fc.weight)")):
        Network("resnet50", 21, weights=str(tmp_path / "weights.pt"))


def test_a_classifiers_features_are_a_backbone(tmp_path):
    """MobileNet's lie under another name in it."""
    classifier = trained(models.mobilenet_v3_large(num_classes=3))
    torch.save(classifier.state_dict(), tmp_path / "weights.pt")
    network = Network("lraspp_mobilenet_v3_large", 5, backbone_weights=str(tmp_path / "weights.pt"))
    assert same(network.model.backbone, classifier.features.state_dict())


# Checkpoints of a run.


def checkpoint(**more):
    return {"pytorch-lightning_version": "2", "state_dict": other().state_dict(), **more}


def test_a_damaged_checkpoint_is_told(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save(checkpoint(optimizer_states=[{"state": {0: {"momentum_buffer": torch.ones(64)}}}]), path)
    check_checkpoint(small(), path)
    whole = path.read_bytes()
    at = whole.index(torch.ones(64).numpy().tobytes())
    path.write_bytes(whole[: at + 9] + b"x" + whole[at + 10 :])
    assert "not a checkpoint of a run (damaged: " in refused(path, load=check_checkpoint)


@pytest.mark.parametrize("value", [1.0, float("inf")])
def test_a_networks_own_infinite_values_may_stay(tmp_path, value):
    """Such as a mask of -inf; what was finite must be."""
    module = nn.Module()
    module.register_buffer("mask", torch.tensor([value, 0.0]))
    state = {"mask": torch.tensor([float("inf"), 0.0])}
    torch.save({"pytorch-lightning_version": "2", "state_dict": state}, tmp_path / "last.ckpt")
    if value == 1:
        assert "NaN or infinite" in refused(tmp_path / "last.ckpt", module, check_checkpoint)
    else:
        check_checkpoint(module, tmp_path / "last.ckpt")


def test_the_network_of_a_checkpoint_is_loaded_without_what_was_trained_beside_it(tmp_path):
    state = {f"network.{key}": value for key, value in other().state_dict().items()}
    torch.save(checkpoint(state_dict={**state, "loss.scale": torch.ones(3)}), tmp_path / "last.ckpt")
    network = small()
    load_checkpoint(network, tmp_path / "last.ckpt")
    assert same(network, other().state_dict())
    torch.save(checkpoint(), tmp_path / "last.ckpt")
    assert "the weights do not fit: " in refused(tmp_path / "last.ckpt", load=load_checkpoint)


def test_what_in_a_checkpoint_is_not_loaded_is_named(tmp_path):
    torch.save(checkpoint(callbacks={"A": {"path": tmp_path}}), tmp_path / "last.ckpt")
    message = refused(tmp_path / "last.ckpt", load=check_checkpoint)
    assert "'callbacks' holds other things" in message and "--model.network.weights" in message


# Safetensors.


def test_safetensors_make_the_round_trip(tmp_path):
    module = small()
    save_file(other().state_dict(), tmp_path / "weights.safetensors")
    load_weights(module, tmp_path / "weights.safetensors")
    assert same(module, other().state_dict())


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_convert_writes_the_weights_and_the_normaliser_and_nothing_else(tmp_path, capsys, form):
    source, target = tmp_path / "imagenet_l2_3_0.pt", tmp_path / "new" / "folder" / "robust.safetensors"
    robustness(source, other().model, form)
    main(["convert", str(source), str(target)])
    assert capsys.readouterr().out.strip() == str(target)
    assert os.listdir(target.parent) == ["robust.safetensors"]
    assert target.stat().st_mode & 0o777 == source.stat().st_mode & 0o777
    written, expected = load_file(target), other().state_dict()
    assert written.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in written.items())
    module = small()
    load_weights(module, target)
    assert same(module, expected)


def test_convert_takes_weights_that_share_memory_or_lie_in_another_order(tmp_path):
    tied = torch.rand(3, 2)
    saved = {"a": tied, "b": tied, "row": tied[0], "turned": tied.T, "parameter": nn.Parameter(tied.half())}
    torch.save(saved, tmp_path / "weights.pt")
    convert(tmp_path / "weights.pt", tmp_path / "weights.safetensors")
    state = read_weights(tmp_path / "weights.safetensors")
    assert state.keys() == prefixed("model.", saved).keys()
    assert all(torch.equal(state[f"model.{name}"], value) for name, value in saved.items())


def test_convert_takes_one_of_several_sets_of_weights(tmp_path, capsys):
    source, target = tmp_path / "weights.pt", tmp_path / "weights.safetensors"
    torch.save({"state_dict": small().state_dict(), "state_dict_ema": other().state_dict()}, source)
    assert "--part state_dict_ema`" in error_of(capsys, source, target)
    main(["convert", str(source), str(target), "--part", "state_dict_ema"])
    assert capsys.readouterr().out.strip() == str(target)
    assert load_file(target).keys() == other().state_dict().keys()
    module = small()
    load_weights(module, target)
    assert same(module, other().state_dict())
    assert "nothing in it begins with ema" in error_of(capsys, source, target, "--part", "ema")


def test_an_existing_target_is_replaced_whole(tmp_path):
    source, target = tmp_path / "weights.pt", tmp_path / "weights.safetensors"
    target.write_bytes(b"x" * 1_000_000)
    torch.save(other().state_dict(), source)
    convert(source, target)
    assert target.stat().st_size < 10_000
    convert(target, target)
    assert same(other(), read_weights(target))
    assert sorted(os.listdir(tmp_path)) == ["weights.pt", "weights.safetensors"]


def error_of(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["convert", *map(str, arguments)])
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", output.err)
    return output.err


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(1000)}, path)
    return path


@pytest.mark.parametrize("name", ["weights.pth", "weights", "weights.safetensors.gz"])
def test_a_target_of_another_kind_is_refused(tmp_path, capsys, source, name):
    assert f"{name}: the name of a safetensors file ends in .safetensors" in error_of(capsys, source, tmp_path / name)
    assert os.listdir(tmp_path) == ["weights.pt"]


def test_a_source_without_weights_is_refused_and_an_older_target_stays(tmp_path, capsys):
    target = tmp_path / "target.safetensors"
    target.write_text("old")
    (tmp_path / "hello.pt").write_text("hello")
    torch.save(3, tmp_path / "three.pt")
    for name, message in (("no.pt", "no such"), ("hello.pt", "not a file of"), ("three.pt", "no state dict")):
        assert message in error_of(capsys, tmp_path / name, target)
    assert target.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["hello.pt", "target.safetensors", "three.pt"]


@pytest.mark.parametrize("target", ["weights.pt/x.safetensors", "/proc/x.safetensors", f"{'x' * 240}.safetensors"])
def test_a_target_that_cannot_be_made_is_one_line(tmp_path, capsys, source, target):
    assert f"{tmp_path / target}: cannot be written (" in error_of(capsys, source, tmp_path / target)
    assert os.listdir(tmp_path) == ["weights.pt"]


def test_a_folder_in_the_place_of_the_target_is_one_line(tmp_path, capsys, source):
    (tmp_path / "x.safetensors").mkdir()
    assert "x.safetensors: cannot be written (" in error_of(capsys, source, tmp_path / "x.safetensors")
    assert sorted(os.listdir(tmp_path)) == ["weights.pt", "x.safetensors"]


@pytest.fixture
def full_disk():
    """No file can grow beyond a kilobyte."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_nothing_is_left_behind_when_the_disk_is_full(tmp_path, source, full_disk):
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    old.write_text("old")
    messages = []
    for target in old, new:
        with pytest.raises(NetworkError) as error:
            convert(source, target)
        messages.append(str(error.value))
    full_disk()  # pytest itself writes, too
    assert messages == [f"{target}: cannot be written ([Errno 27] File too large)" for target in (old, new)]
    assert old.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["old.safetensors", "weights.pt"]


def test_convert_says_what_it_needs(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["convert", "weights.pt"])
    assert ended.value.code == 2
    assert "target" in capsys.readouterr().err
