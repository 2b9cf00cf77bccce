"""Files of weights after an accident: loaded as they were, or told; nothing in them is ever run."""

import collections
import pickle
from pathlib import Path
from random import Random

import pytest
import torch
from fuzz.breaking import broken_bytes, broken_tree, cases
from fuzz.endings import MARK, PLANTED, bounded, one_line
from safetensors.torch import save_file

from lightning_modules import Network, NetworkError

NETWORK = {"name": "fcn_small", "num_classes": 5}


class Planted:
    """Writes a mark when it is unpickled by whoever runs what a pickle names."""

    def __reduce__(self):
        import planted

        return planted.mark, ()


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return Network(**NETWORK).state_dict()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("planted.py").write_text(PLANTED)


def load(path):
    """The weights of a network that was given a file, or None where that was told."""
    with bounded():
        try:
            return Network(**NETWORK, weights=str(path)).state_dict()
        except NetworkError as error:
            assert str(path) in one_line(str(error))
            return None


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in other)


@pytest.mark.parametrize("case", cases("accident"))
def test_an_accident_to_the_bytes(state, case):
    draw = Random(case)
    path = Path("weights.safetensors" if draw.random() < 0.2 else "weights.pt").absolute()
    if path.suffix == ".safetensors":
        save_file(state, path)
        checked = False
    else:
        checked = draw.random() < 0.8
        torch.save({"state_dict": state, "epoch": 3}, path, _use_new_zipfile_serialization=checked)
    whole = path.read_bytes()
    path.write_bytes(broken_bytes(whole, draw))
    loaded = load(path)
    if checked and loaded is not None:
        assert same(loaded, state), "other weights than were saved"


VALUES = (
    None, 0, 1.5, "x", b"x", [], {}, (), {1, 2}, collections.Counter("aa"), torch.zeros(()), torch.zeros(0),
    torch.zeros(3, dtype=torch.complex64), torch.full((1,), float("nan")), torch.zeros(2, 2).to_sparse(),
    torch.nn.Linear(1, 1), torch.float32, Planted(), [Planted()],
)  # fmt: skip


@pytest.mark.parametrize("case", cases("content"))
def test_other_content(state, case):
    """Keys and values that are lost, renamed, replaced or of another kind, and planted code."""
    draw = Random(case)
    content = {"state_dict": dict(state), "epoch": 3, "optimizer": {"lr": 0.1}}
    for _ in range(draw.choice((1, 1, 3))):
        kind = draw.choice(("tree", "value", "beside", "prefix"))
        inner = content.get("state_dict")
        if kind == "tree" or not isinstance(inner, dict) or not inner:
            content = broken_tree(content, draw)
        elif kind == "value":
            inner[draw.choice(list(inner))] = draw.choice(VALUES)
        elif kind == "beside":
            content[draw.choice(("model", "net", "callbacks", "x"))] = draw.choice(VALUES)
        else:
            prefix = draw.choice(("module.", "_orig_mod.", "net.", ".", "\x1b[31m"))
            content["state_dict"] = {prefix + str(key): value for key, value in inner.items()}
    path = Path("weights.pt").absolute()
    torch.save(content, path)
    MARK.unlink(missing_ok=True)  # to copy what is planted, as above, runs it
    loaded = load(path)
    assert loaded is None or all(value.isfinite().all() for value in loaded.values())


def test_the_mark_would_be_seen():
    pickle.loads(pickle.dumps(Planted()))
    with pytest.raises(AssertionError, match="planted code was run"), bounded():
        pass


def test_whole_files(state, tmp_path):
    for path in (tmp_path / "w.pt", tmp_path / "w.safetensors"):
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
        assert same(load(path), state)
