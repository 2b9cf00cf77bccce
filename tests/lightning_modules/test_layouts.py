"""Layouts of files, as libraries, trainers and wrappers write them."""

import itertools
import warnings
from pathlib import Path

import pytest
import torch
from checkpoints import MEAN, STD, prefixed
from one_line import one_line
from torch import nn

from lightning_modules.layouts import network_state
from lightning_modules.unpickling import Inert
from lightning_modules.weight_files import NetworkError

PATH = Path("w.pt")


def architecture(seed=0):
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 5))
    return {
        key: torch.rand(value.shape, generator=generator) if value.ndim else value
        for key, value in module.state_dict().items()
    }


OWN, OTHER = architecture(), architecture(1)
MEAN_, STD_ = torch.tensor(MEAN), torch.tensor(STD)


def found(content, **options):
    return network_state(content, PATH, OWN, **options)


def is_own(state, *more):
    """Whether it is the architecture `OWN`, and `more` keys."""
    expected = prefixed("model.", OWN)
    return state.keys() == expected.keys() | set(more) and all(
        torch.equal(state[key], value) for key, value in expected.items()
    )


WRAPPERS = ["module.", "_orig_mod.", "model.", "network.", "net.", "backbone.", "encoder.", "classifier.0."]
CONTAINERS = ["state_dict", "model", "net", "model_state", "model_state_dict", "state_dict_ema", "ema", "module", "a.b"]


@pytest.mark.parametrize("depth", range(4))
def test_wrapping_modules_in_any_order(depth):
    for wrappers in itertools.permutations(WRAPPERS, depth):
        assert is_own(found(prefixed("".join(wrappers), OWN))), wrappers


@pytest.mark.parametrize("depth", [1, 2])
def test_containers_of_any_name(depth):
    for names in itertools.permutations(CONTAINERS, depth):
        for prefix in ("", "module.", "model.net."):
            content = prefixed(prefix, OWN)
            for name in names:
                content = {name: content, "epoch": 3, "best": torch.tensor(0.5), "arch": "x", "args": Inert()}
            assert is_own(found(content)), (names, prefix)


def test_parts_of_a_network_may_be_wrapped():
    """As AlexNet's features are in torchvision's example, or compiled blocks."""
    state = {key.replace("1.", "1._orig_mod.module.").replace("0.", "module.0."): value for key, value in OWN.items()}
    assert is_own(found({"state_dict": state}))


def test_an_averaged_model_counts():
    assert is_own(found(prefixed("module.", OWN) | {"n_averaged": torch.tensor(3)}))


def test_counters_may_be_absent():
    state = {key: value for key, value in OWN.items() if "tracked" not in key}
    assert found({"net": prefixed("backbone.", state)}).keys() == prefixed("model.", state).keys()


def test_an_optimizer_holds_no_weights():
    parameters = [nn.Parameter(value.clone()) for value in OWN.values() if value.is_floating_point()]
    optimizer = torch.optim.Adam(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert is_own(found({"optimizer": optimizer.state_dict(), "net": OWN}))


@pytest.mark.parametrize(
    ("content", "one", "other"),
    [
        ({"state_dict": OWN, "state_dict_ema": OTHER}, "state_dict", "state_dict_ema"),
        ({"state_dict": prefixed("module.", OTHER), "ema": {"shadow": OWN}}, "ema.shadow", "state_dict"),
        (prefixed("model.", OWN) | prefixed("ema_model.", OTHER), "model", "ema_model"),
        ({"state_dict": prefixed("student.", OWN) | prefixed("teacher.", OTHER)}, "student", "state_dict.teacher"),
        (OWN | prefixed("ema.", OTHER), "its top level", "ema"),
    ],
)
def test_different_weights_are_not_chosen_between(content, one, other):
    with pytest.raises(NetworkError, match=one_line("w.pt: holds different weights, ", "--part ")) as error:
        found(content)
    assert one in str(error.value) and other in str(error.value)


def test_weights_that_are_there_twice_are_taken():
    assert is_own(found({"a": OWN, "b": {key: value.clone() for key, value in OWN.items()}}))
    assert is_own(found(prefixed("model.", OWN) | prefixed("copy.", OWN)))


@pytest.mark.parametrize(("part", "expected"), [("state_dict", OWN), ("ema.module", OTHER), ("ema", OTHER)])
def test_a_part_is_taken(part, expected):
    content = {"state_dict": prefixed("model.", OWN), "ema": {"module": OTHER}}
    if part == "ema":
        content["ema"] = prefixed("network.model.", OTHER)
    for own in (OWN, None):
        state = network_state(content, PATH, own, part=part)
        assert state.keys() == prefixed("model.", OWN).keys()
        assert all(torch.equal(state[f"model.{key}"], value) for key, value in expected.items())


def test_a_part_keeps_the_normaliser_of_both():
    content = prefixed("model.", OWN) | prefixed("ema_model.", OTHER) | {"normalize.mean": MEAN_}
    assert torch.equal(found(content, part="ema_model")["normalize.mean"], MEAN_)
    with pytest.raises(NetworkError, match=one_line("w.pt: nothing in it begins with emma; there is ")):
        found(content, part="emma")


def test_of_two_that_fit_by_name_the_shapes_may_tell():
    """A student and its larger teacher."""
    teacher = {key: value.repeat([2] * value.ndim) for key, value in OTHER.items()}
    assert is_own(found({"student": OWN, "teacher": teacher}))


def test_lightnings_checkpoints_say_where_the_weights_are():
    """Its weight averaging keeps those that are trained beside the average, which is the model's."""
    content = {"pytorch-lightning_version": "2", "state_dict": prefixed("net.", OWN), "current_model_state": OTHER}
    assert is_own(found(content))


@pytest.mark.parametrize("own", [OWN, None])
def test_what_training_keeps_beside_a_network_is_told_and_left_out(own):
    content = prefixed("network.", OWN) | {"loss.weight": torch.ones(3), "train_acc.tp": torch.ones(3)}
    with pytest.warns(UserWarning, match=r"w.pt: loss.weight, train_acc.tp beside the weights"):
        assert is_own(network_state(content, PATH, own))


def test_what_else_lies_beside_a_network_keeps_its_name():
    """So that it is told to be unexpected."""
    content = {"state_dict": prefixed("net.", OWN) | {"adapter.weight": torch.ones(1)}, "other": {"x": torch.ones(1)}}
    assert is_own(found(content), "adapter.weight")
    assert is_own(found(content, whole=False))
    assert is_own(found(content, part="state_dict.net"))


@pytest.mark.parametrize(
    "content",
    [
        {"mean": MEAN_, "std": STD_, **OWN},
        {"mu": MEAN_, "sigma": STD_, **prefixed("model.", OWN)},
        {"normalize.mean": MEAN_, "normalize.std": STD_, **prefixed("net.backbone.", OWN)},
        {"0.mean": MEAN_, "0.std": STD_, **prefixed("1.", OWN)},
        {"norm.mean": MEAN_, "norm.std": STD_, **prefixed("net.", OWN)},
        {"net": OWN, "mean": MEAN_, "std": STD_},
        {"net": OWN, "normalizer": {"mean": MEAN_, "std": STD_}},
        prefixed("module.", {"net.mean": MEAN_, "net.std": STD_, **prefixed("net.", OWN)}),
    ],
)
def test_normalisers_are_found_in_and_beside_the_architecture(content):
    state = found(content)
    assert is_own(state, "normalize.mean", "normalize.std")
    assert torch.equal(state["normalize.mean"], MEAN_) and torch.equal(state["normalize.std"], STD_)


@pytest.mark.parametrize(
    "content",
    [
        {"prep.mean": MEAN_, "prep.std": STD_, **prefixed("net.", OWN)},
        {"net": OWN, "transform": {"mean": MEAN_, "std": STD_}},
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_what_may_be_a_normaliser_is_not_passed_over(content, whole):
    assert {name.rpartition(".")[2] for name in found(content, whole=whole)} >= {"mean", "std"}
    assert not is_own(found(content, whole=whole), "normalize.mean", "normalize.std")


def test_where_none_fits_the_nearest_is_compared():
    most = {key: value for key, value in OWN.items() if key != "2.bias"}
    state = found({"state_dict": prefixed("net.", most), "x": {"2.bias": torch.ones(5)}})
    assert state.keys() == prefixed("model.", most).keys()


def test_a_name_with_and_without_a_wrapper_is_refused():
    with pytest.raises(NetworkError, match=one_line("w.pt: 0.weight is in it twice")):
        found({**OWN, "module.0.weight": torch.ones(1)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Inert(), "a pickled object, such as a whole module"),
        ({"net": Inert()}, "'net' is no plain tensor"),
        ({key: Inert() for key in OWN}, "'0.weight' is no plain tensor"),
        ({**OWN, "0.weight": Inert()}, "'model.0.weight' is no plain tensor"),
        ([OWN], "no state dict; save one"),
        ({}, "no state dict; save one"),
        ({1: torch.ones(1)}, "a key of type int is no tensor's name"),
        ({"a\nb": torch.ones(1)}, r"'a\nb' is no tensor's name"),
        ({"a": {"b": {"c": {"d": {"e": OWN}}}}}, "no state dict"),
    ],
)
def test_what_is_no_state_dict_is_told(content, message):
    with pytest.raises(NetworkError, match=one_line("w.pt", message)):
        found(content)


def test_containers_that_hold_each_other_end():
    content = {str(i): {} for i in range(50)}
    for inner in content.values():
        inner.update(content)
    content["net"] = OWN
    assert is_own(found(content))


def test_names_of_many_dots_are_read_in_no_time():
    assert is_own(found({**OWN, "a." * 100_000: 3}))


def test_without_a_network_only_known_names_are_removed():
    assert network_state({"net": prefixed("module.", OWN)}, PATH).keys() == prefixed("model.", OWN).keys()
    assert network_state(prefixed("my.", OWN), PATH).keys() == prefixed("model.my.", OWN).keys()
    with pytest.raises(NetworkError, match="holds different weights, in a and in b"):
        network_state({"a": OWN, "b": OTHER}, PATH)


PARAMETERS = {key: value for key, value in OTHER.items() if "running" not in key}


@pytest.mark.parametrize(
    "average", [Inert(), {"shadow_params": [*OTHER.values()]}, PARAMETERS, {key: Inert() for key in OTHER}]
)
def test_an_average_that_cannot_be_read_is_told(average):
    told = one_line("w.pt: model_ema: averaged weights, it seems,", "left out; to use them, save their state dict")
    for content in ({"model": OWN, "model_ema": average}, {"a": {"model": OWN}, "model_ema": average}):
        with pytest.warns(UserWarning, match=told):
            assert is_own(found(content))
        with warnings.catch_warnings(action="error"):
            assert is_own(found(content, part="a.model" if "a" in content else "model"))


def test_an_average_that_is_taken_or_equal_is_nothing_to_tell():
    copy = {key: value.clone() for key, value in OWN.items()}
    with warnings.catch_warnings(action="error"):
        assert is_own(found({"model": OWN, "ema": copy, "ema_decay": 0.9}))
        assert is_own(found({"optimizer": Inert(), "ema": OWN, "n_averaged": torch.tensor(3)}))
        content = {"pytorch-lightning_version": "2", "state_dict": OWN, "callbacks": {"ema": {"weights": OTHER}}}
        assert is_own(found(content))
