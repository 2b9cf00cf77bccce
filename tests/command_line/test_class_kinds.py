"""What a path names is of its place's kind, or one line says why not; nothing is called."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

import attacks
from attacks import Adversary, Linf
from attacks.constraints import Constraint
from command_line.class_kinds import Place, either, find, kind_of, misfit

NETWORK, CONSTRAINT = Place.of(nn.Module), Place.of(Constraint | None)
OPTIMIZER = Place.of(Callable[[list], Optimizer])


def annotated(parameters: list) -> Optimizer:
    raise AssertionError("called")


def without_annotations(parameters):
    raise AssertionError("called")


def of_two(parameters, rate):
    raise AssertionError("called")


def a_number() -> int:
    raise AssertionError("called")


@pytest.mark.parametrize(
    ("path", "place", "found"),
    [
        ("Linf", CONSTRAINT, Linf),
        ("attacks.constraints.Linf", CONSTRAINT, Linf),
        ("torch.nn.Identity", NETWORK, nn.Identity),
        ("torch.optim.SGD", OPTIMIZER, SGD),
        ("attacks.PGD", Place.of(Adversary), attacks.PGD),
    ],
)
def test_what_a_path_names(path, place, found):
    assert find(path, place) is found


@pytest.mark.parametrize(
    ("path", "place", "line"),
    [
        ("Linff", CONSTRAINT, "no Constraint is called Linff; did you mean Linf?"),
        ("torch.nn.Identiti", NETWORK, "torch.nn.Identiti: torch.nn has no Identiti; did you mean Identity?"),
        ("nowhere.Network", NETWORK, "nowhere.Network: no module nowhere; its folder must be on PYTHONPATH"),
        ("os.getcwd", NETWORK, "os.getcwd: this is of Python's own library"),
        ("torch.nn.Identity", CONSTRAINT, "torch.nn.Identity is no subclass of Constraint"),
    ],
)
def test_what_is_not_there_or_not_of_the_kind(path, place, line):
    with pytest.raises(ValueError, match="^" + line.replace(".", r"\.").replace("?", r"\?")):
        find(path, place)


@pytest.mark.parametrize(
    ("found", "place", "wrong"),
    [
        (Linf(0.1), CONSTRAINT, None),
        (annotated, OPTIMIZER, None),
        (without_annotations, OPTIMIZER, None),
        (partial(of_two, rate=1), OPTIMIZER, None),
        (without_annotations, NETWORK, None),
        (without_annotations, CONSTRAINT, "does not say what it returns: annotate it with -> Constraint"),
        (a_number, CONSTRAINT, "returns int, not Constraint"),
        (a_number, OPTIMIZER, "returns int, not Optimizer"),
        (lambda: None, OPTIMIZER, "takes (); here it is called with 1 arguments"),
        (torch.zeros(1), CONSTRAINT, "is of type Tensor, not Constraint"),
    ],
)
def test_a_value_is_looked_at_and_not_called(found, place, wrong):
    assert misfit(found, place) == wrong


def test_words():
    assert either((Linf, nn.Module, Linf)) == "Linf or Module"
    assert (kind_of(None), kind_of(3)) == ("nothing (None)", "of type int")
