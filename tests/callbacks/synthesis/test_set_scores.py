import math
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from networks import linear, per_pixel, uniform
from one_line import one_line
from torch import nn

from callbacks.synthesis.set_scores import set_scores


class Units(nn.Module):
    """Pixels are the units of its representation, and logits."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.fc = nn.Linear(12, 12, bias=False).double()
        self.fc.weight.data = scale * torch.eye(12).double()

    def forward(self, image):
        return self.fc(image.flatten(1))


def batches(images, size=7):
    return images.split(size)


def frechet(painted, real):
    """The formula of Heusel et al., by scipy."""
    x, y = (each.flatten(1).numpy() for each in (painted, real))
    root = scipy.linalg.sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * np.trace(root)


@pytest.mark.filterwarnings("ignore:fid")
@pytest.mark.parametrize(("count", "precision"), [(200, 1e-9), (13, 1e-9), (8, 1e-5), (2, 1e-5)])
def test_fid_is_the_formula_also_of_fewer_images_than_units(count, precision):
    painted, real = uniform(count, 3, 2, 2), uniform(count + 3, 3, 2, 2, seed=1) ** 2
    found = set_scores(batches(painted), batches(real), Units())
    assert math.isclose(found["fid"], frechet(painted, real), rel_tol=precision)
    assert (found["painted"], found["real"]) == (count, count + 3)


def test_fid_of_a_shift_is_its_square():
    real = uniform(100, 3, 2, 2)
    found = set_scores(batches(real + 0.5), batches(real), Units())
    assert math.isclose(found["fid"], 12 * 0.25, rel_tol=1e-6)
    assert set_scores(batches(real), batches(real), Units())["fid"] < 1e-9


@pytest.mark.filterwarnings("ignore:fid")
def test_of_label_maps_networks_the_pixels_mean_is_the_representation_and_there_is_no_inception_score():
    painted, real = uniform(30, 3, 4, 4), uniform(30, 3, 4, 4, seed=1) / 2
    found = set_scores(batches(painted), batches(real), per_pixel())
    assert set(found) == {"fid", "painted", "real"}
    assert math.isclose(found["fid"], frechet(painted.mean((2, 3)), real.mean((2, 3))), rel_tol=1e-6)


def test_inception_score_in_closed_form():
    """Sure of four classes in turn: 4. Sure of nothing: 1. In between: exp of the mean divergence."""
    sure = torch.eye(12).double()[torch.arange(8) % 4].view(8, 3, 2, 2)
    assert math.isclose(set_scores(batches(sure), None, Units(100))["inception_score"], 4, rel_tol=1e-9)
    assert math.isclose(set_scores(batches(sure), None, Units(0))["inception_score"], 1, rel_tol=1e-9)
    images = uniform(9, 3, 2, 2)
    p = (5 * images.flatten(1)).softmax(1)
    expected = (p * (p / p.mean(0)).log()).sum(1).mean().exp().item()
    assert math.isclose(set_scores(batches(images), None, Units(5))["inception_score"], expected, rel_tol=1e-9)


def test_inception_score_of_a_network_that_is_beyond_doubt():
    """A class that none of the pictures can be has probability 0, whose logarithm times 0 is NaN in torchmetrics."""
    sure = torch.eye(12).double()[torch.arange(8) % 4].view(8, 3, 2, 2)
    assert math.isclose(set_scores(batches(sure), None, Units(1e4))["inception_score"], 4, rel_tol=1e-9)


def test_scores_of_splits_are_those_of_their_parts():
    sure = torch.eye(12).double()[torch.arange(8) % 4].view(8, 3, 2, 2)
    found = set_scores(batches(sure), None, Units(100), splits=8)
    assert math.isclose(found["inception_score"], 1) and found["inception_score_std"] < 1e-9, "one picture each"
    network, state = Units(5), torch.get_rng_state()
    first = set_scores(batches(uniform(9, 3, 2, 2)), None, network, splits=3)
    assert first == set_scores(batches(uniform(9, 3, 2, 2)), None, network, splits=3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.filterwarnings("ignore:fid")
@pytest.mark.parametrize("size", [1, 4, 30])
def test_nothing_depends_on_the_batches(size):
    painted, real, network = uniform(30, 3, 4, 4), uniform(30, 3, 4, 4, seed=1), linear(5)
    together = set_scores([painted], [real], network)
    for name, value in set_scores(batches(painted, size), batches(real, size), network).items():
        assert math.isclose(value, together[name], rel_tol=1e-6), name


def test_images_come_one_batch_at_a_time():
    held = []

    def endless():
        for i in range(3):
            held.append(i)
            yield uniform(5, 3, 2, 2, seed=i)

    pictures = endless()
    assert held == []
    assert set_scores(pictures, None, Units())["painted"] == 15


def test_few_pictures_are_told():
    with pytest.warns(UserWarning, match="fid: 12 painted and 40 real pictures are few for 12 units"):
        set_scores([uniform(12, 3, 2, 2)], [uniform(40, 3, 2, 2)], Units())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_scores([uniform(13, 3, 2, 2)], [uniform(40, 3, 2, 2)], Units())
        set_scores([uniform(3, 3, 2, 2)], None, Units())


@pytest.mark.parametrize(
    ("painted", "real", "options", "line"),
    [
        ([], None, {}, "there are no pictures to score"),
        ([], [uniform(3, 3, 2, 2)], {}, "there are no pictures to score"),
        ([uniform(1, 3, 2, 2)], [uniform(3, 3, 2, 2)], {}, "2 pictures or more of both: 1 painted, 3 real"),
        ([uniform(3, 3, 2, 2)], [], {}, "2 pictures or more of both: 3 painted, 0 real"),
        ([uniform(3, 3, 2, 2)], None, {"splits": 4}, "splits=4: from 1 to the number of pictures, 3"),
        ([uniform(3, 3, 2, 2)], None, {"splits": 0}, "splits=0"),
        ([uniform(3, 3, 2, 2) / 0], None, {}, "Units: meets NaN or infinity"),
    ],
)
def test_what_cannot_be_scored_is_told(painted, real, options, line):
    with pytest.raises(ValueError, match=one_line(line)):
        set_scores(painted, real, Units(), **options)
