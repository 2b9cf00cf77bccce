import pytest
import torch
from networks import linear, uniform
from one_line import one_line

from attacks import GaussianNoise

NETWORK = linear()


def noisy(image, seed=None, std=0.05, region=None):
    return GaussianNoise(std)(NETWORK, image, torch.zeros(len(image), dtype=torch.int64), seed, region)


def test_the_noise_is_gaussian_with_the_given_deviation():
    image = torch.full((2, 3, 60, 60), 0.5)
    values = ((noisy(image, std="13/255") - image) * 255 / 13).flatten().sort().values
    expected = torch.distributions.Normal(0, 1).cdf(values)
    assert (expected - torch.linspace(0, 1, len(values))).abs().max() < 0.015


def test_the_noise_depends_on_the_seed_alone():
    image, seed = uniform(4, 3, 4, 4), torch.tensor([3, -1, 2**50, 4])
    result, order = noisy(image, seed), torch.tensor([2, 3, 0, 1])
    assert torch.equal(noisy(image[order], seed[order]), result[order])
    assert torch.equal(torch.cat([noisy(image[[i]], seed[[i]]) for i in range(4)]), result)
    assert not torch.allclose(noisy(image, seed + 1), result, atol=0.01)


def test_the_result_stays_in_the_box():
    result = noisy(uniform(2, 3, 8, 8).round(), std=0.5)
    assert result.min() == 0
    assert result.max() == 1
    assert ((result > 0) & (result < 1)).any()


def test_nothing_moves_outside_the_region():
    image, region = uniform(2, 3, 8, 8), uniform(2, 1, 8, 8, seed=1) < 0.5
    moved = (noisy(image, region=region) != image).any(1, keepdim=True)
    assert torch.equal(moved, region)


def test_no_deviation_is_the_identity():
    image = uniform(2, 3, 8, 8)
    assert torch.equal(noisy(image, std=0), image)


@pytest.mark.parametrize("std", [8, "8", -0.1, float("nan"), "loud"])
def test_a_bad_deviation_is_refused_in_one_line(std):
    with pytest.raises(ValueError, match=one_line("GaussianNoise", std, "write")):
        GaussianNoise(std)


def test_a_deviation_of_255_names_the_remedy():
    with pytest.raises(ValueError, match=one_line("GaussianNoise(std=8)", "write 8/255")):
        GaussianNoise(8)
