"""Where in a config networks are."""

import copy

import pytest
from jsonargparse import Namespace

from command_line.networks import leave_out_weights, network_options

ALONE = {"class_path": "lightning_modules.Network", "init_args": {"name": "a", "weights": "a.pt"}}
OTHER = {"class_path": "lightning_modules.Network", "init_args": {"name": "b", "backbone_weights": "b.pt"}}
MINE = {"class_path": "mine.Network", "init_args": {"name": "c", "weights": "c.pt"}}


def fused(*networks):
    arguments = {"num_classes": 3, "networks": [copy.deepcopy(network) for network in networks], "layers": [None, "fc"]}
    return {"class_path": "lightning_modules.LateFusion", "init_args": arguments}


def parsed(section):
    """As a parser makes it."""
    if isinstance(section, dict):
        return Namespace(**{key: parsed(value) for key, value in section.items()})
    return [parsed(each) for each in section] if isinstance(section, list) else section


@pytest.mark.parametrize("made", [copy.deepcopy, parsed])
@pytest.mark.parametrize(
    ("section", "names"),
    [(ALONE, "a"), (MINE, ""), (fused(ALONE, OTHER), "ab"), (fused(fused(OTHER, ALONE), MINE, OTHER), "bab"),
     ({"class_path": "mine.build"}, ""), ({"class_path": "mine.build", "init_args": None}, ""), (None, ""),
     ({"class_path": "lightning_modules.Network"}, ""), ("mine.build", "")],
)  # fmt: skip
def test_networks_are_found_at_any_depth(section, names, made):
    section = made(section)
    found = network_options(section)
    assert "".join(options["name"] for options in found) == names
    leave_out_weights(section)
    assert all(options["weights"] is None and options["backbone_weights"] is None for options in found)
    assert network_options(section) == found, "in place"


def test_weights_of_other_classes_stay():
    section = fused(MINE, ALONE)
    leave_out_weights(section)
    mine, own = section["init_args"]["networks"]
    assert mine == MINE and own["init_args"] == {"name": "a", "weights": None, "backbone_weights": None}
