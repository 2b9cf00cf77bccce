import numpy as np
import pytest
import torch
from networks import seeded
from PIL import Image
from torch import nn

from paint.files import pictures_in
from paint.record import Entry, Record, Result
from paint.sets import Features, generated_scores

COLOURS = {"red": (250, 20, 20), "green": (20, 250, 20), "blue": (20, 20, 250)}


def colours() -> nn.Sequential:
    """Sees each of the three colours as a class of its own, and is sure of it."""
    network = seeded(lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)))
    network[2].weight.data, network[2].bias.data = 60 * torch.eye(3), torch.zeros(3)
    return network


def by_colour():
    return Features(colours(), None, {"name": "colours"})


@pytest.fixture
def painted(tmp_path):
    """Makes a record of results in some colours, beside the three given pictures."""
    for name, colour in COLOURS.items():
        Image.new("RGB", (6, 4), colour).save(tmp_path / f"{name}.png")
    pictures, _ = pictures_in(tmp_path)

    def paint(*results):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        record = Record(out, {}, {}, ["a"])
        for picture, colour in zip(pictures, results, strict=False):
            Image.fromarray(np.full((4, 6, 3), COLOURS[colour], np.uint8)).save(out / picture.path.name)
            result = Result("", [picture.path.name], [], {}, {})
            record.pictures[picture.name] = Entry(picture.path.name, [4, 6], {}, {"a": [result]})
        return record, pictures

    return paint


def test_as_many_kinds_as_there_are_score_their_number_and_equal_sets_are_no_distance_apart(painted):
    scores = generated_scores(*_of(painted("red", "green", "blue")), by_colour())
    assert scores["inception_score"] == pytest.approx(3, abs=1e-6) and scores["features"] == {"name": "colours"}
    same = {"blue": "blue", "green": "green", "red": "red"}
    scores = generated_scores(*_of(painted(*same.values())), by_colour())
    assert scores["fid"] == pytest.approx(0, abs=1e-6) and (scores["painted"], scores["real"]) == (3, 3)
    scores = generated_scores(*_of(painted("red", "red", "red")), by_colour())
    assert scores["inception_score"] == pytest.approx(1, abs=1e-6) and scores["fid"] > 0.1
    assert "few" in scores["note"]


def test_one_picture_is_no_set(painted):
    assert generated_scores(*_of(painted("red")), by_colour()) == {}


def test_a_network_without_features_is_told(painted):
    nothing = Features(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), None, {})
    scores = generated_scores(*_of(painted("red", "blue", "green")), nothing)
    assert list(scores) == ["note"] and scores["note"].startswith("no Inception Score and no FID: Sequential: has no")


def _of(made):
    record, pictures = made
    return record, "a", pictures
