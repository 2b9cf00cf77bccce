import re

import pytest
import torch
from networks import seeded
from torch import nn

from lightning_modules import NetworkError
from lightning_modules.weights import load_weights


def small():
    return seeded(lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))


def other():
    network = small()
    for value in network.state_dict().values():
        value += 1
    return network


def refused(path, module=None):
    """The error's message, which is one line that names the file; the module is as it was."""
    module = module or small()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(NetworkError) as error:
        load_weights(module, path)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "callbacks": {"a": [1, "b", None]}},
        lambda state: {"state_dict": {f"network.{key}": value for key, value in state.items()}, "epoch": 3},
        lambda state: {f"network.{key}": value for key, value in state.items()},
    ],
    ids=["state dict", "checkpoint", "checkpoint of ours", "with prefix"],
)
def test_weights_are_read_from_a_state_dict_or_a_checkpoint(tmp_path, wrap):
    module, saved = small(), other().state_dict()
    torch.save(wrap(saved), tmp_path / "weights.pt")
    load_weights(module, tmp_path / "weights.pt")
    assert all(torch.equal(value, saved[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("0.bias"), r"1 missing \(0.bias\)"),
        (lambda state: state.update(extra=torch.zeros(1)), r"1 unexpected \(extra\)"),
        (lambda state: state.update({"0.weight": torch.zeros(3, 4)}), r"1 of another shape \(0.weight\)"),
        (lambda state: state.clear(), r"7 missing \(0.bias, 0.weight, 1.bias, ...\)"),
    ],
    ids=["missing", "unexpected", "shape", "empty"],
)
def test_weights_that_do_not_fit_are_named_and_none_is_loaded(tmp_path, change, message):
    state = other().state_dict()
    change(state)
    torch.save(state, tmp_path / "weights.pt")
    assert re.search(message, refused(tmp_path / "weights.pt"))


def test_all_misfits_are_told_at_once(tmp_path):
    state = other().state_dict()
    state["0.extra"] = state.pop("0.bias")
    state["0.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "weights.pt")
    message = refused(tmp_path / "weights.pt")
    assert "1 missing (0.bias); 1 unexpected (0.extra); 1 of another shape (0.weight)" in message
    assert "num_classes" in message


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


@pytest.mark.parametrize("text", ["", "hello\n", "<!DOCTYPE html>", "URL not found", "X", "\n\n", "PK\x03\x04"])
def test_a_file_that_is_no_torch_file_is_refused(tmp_path, text):
    path = tmp_path / "weights.pt"
    path.write_text(text)
    assert "not a file of plain tensors" in refused(path)


@pytest.mark.parametrize(
    "content",
    [torch.zeros(3), [torch.zeros(3)], {"0.weight": "text"}, {"state_dict": torch.zeros(3)}, {0: torch.zeros(3)}],
    ids=["tensor", "list", "text", "no dict", "numbered"],
)
def test_tensors_that_are_no_state_dict_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    refused(tmp_path / "weights.pt")


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert refused(tmp_path / "weights.pt").endswith("no such weights file")
    assert refused(tmp_path).endswith("no such weights file")
