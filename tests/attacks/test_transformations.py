"""Against scipy and torchvision; images are float64 unless said otherwise."""

import copy
import pickle

import numpy as np
import pytest
import torch
from networks import linear, uniform
from one_line import one_line
from scipy import ndimage
from torchvision.transforms.v2 import functional

from attacks import ColorReversal, GaussianBlur, MedianFilter, Transformation
from attacks.transformations import median

NETWORK = linear()
ALL = [GaussianBlur(1.5), MedianFilter(2), MedianFilter(1, 5), ColorReversal()]


def apply(transformation, image, seed=None, region=None):
    return transformation(NETWORK, image, torch.zeros(len(image), dtype=torch.int64), seed, region)


def blurred_by_scipy(image, sigma, radius=15):
    return torch.from_numpy(ndimage.gaussian_filter(image.numpy(), sigma, axes=(2, 3), mode="mirror", radius=radius))


@pytest.mark.parametrize("sigma", [0.01, 0.5, 2, 5, 1000])
@pytest.mark.parametrize("size", [(40, 33), (16, 16), (28, 9), (2, 3), (1, 7), (1, 1)])
def test_a_blur_is_that_of_scipy_for_every_size(sigma, size):
    image = uniform(2, 3, *size)
    torch.testing.assert_close(apply(GaussianBlur(sigma), image), blurred_by_scipy(image, sigma), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("sigma", "kernel_size"), [(0.5, 31), (5.0, 31), (1.0, 3)])
def test_a_blur_is_that_of_torchvision(sigma, kernel_size):
    image = uniform(2, 3, 40, 64)
    expected = functional.gaussian_blur(image, kernel_size, sigma)
    torch.testing.assert_close(apply(GaussianBlur(sigma, kernel_size), image), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("passes", [1, 2, 7])
@pytest.mark.parametrize("size", [(40, 33), (5, 3), (2, 2), (1, 4), (1, 1)])
def test_a_median_filter_is_that_of_scipy_to_the_bit(passes, size):
    image = uniform(3, 3, *size)
    expected = image.numpy()
    for _ in range(passes):
        expected = ndimage.median_filter(expected, (1, 1, 3, 3), mode="mirror")
    assert np.array_equal(apply(MedianFilter(passes), image).numpy(), expected)


def test_a_median_filter_of_another_size():
    image = uniform(2, 3, 20, 20)
    expected = ndimage.median_filter(image.numpy(), (1, 1, 7, 7), mode="mirror")
    assert np.array_equal(apply(MedianFilter(1, 7), image).numpy(), expected)


@pytest.mark.parametrize("count", [1, 3, 5, 9, 25])
def test_the_median_of_tensors(count):
    values = (uniform(count, 1000) * 6).floor()  # with ties
    assert torch.equal(median(list(values)), values.median(0).values)


def test_a_median_filter_takes_a_large_batch_in_parts(monkeypatch):
    image = uniform(5, 3, 10, 10)
    whole = apply(MedianFilter(2), image)
    monkeypatch.setattr("attacks.transformations._LARGEST", 600)
    assert torch.equal(apply(MedianFilter(2), image), whole)


def test_the_median_keeps_an_edge_and_the_blur_does_not():
    """Why the paper takes both."""
    image = torch.zeros(1, 3, 20, 20, dtype=torch.float64)
    image[..., 10:] = 1
    assert torch.equal(apply(MedianFilter(10), image), image)
    assert (apply(GaussianBlur(2), image) - image).abs().max() > 0.3


def test_colours_are_reversed():
    image = uniform(2, 3, 4, 4)
    assert torch.equal(apply(ColorReversal(), image), 1 - image)


@pytest.mark.parametrize("transformation", [GaussianBlur(0), MedianFilter(0), MedianFilter(3, 1)], ids=repr)
def test_no_strength_is_the_identity(transformation):
    image = uniform(2, 3, 8, 8)
    assert torch.equal(apply(transformation, image), image)


@pytest.mark.parametrize("transformation", ALL, ids=repr)
def test_a_sample_does_not_depend_on_its_neighbours(transformation):
    image, order = uniform(4, 3, 9, 9), torch.tensor([2, 3, 0, 1])
    result = apply(transformation, image)
    torch.testing.assert_close(apply(transformation, image[order]), result[order], rtol=0, atol=1e-15)
    alone = torch.cat([apply(transformation, one) for one in image.split(1)])
    torch.testing.assert_close(alone, result, rtol=0, atol=1e-15)
    assert apply(transformation, image[:0]).shape == (0, 3, 9, 9)


@pytest.mark.parametrize("transformation", ALL, ids=repr)
def test_padding_does_not_move_and_does_not_come_into_the_picture(transformation):
    image = uniform(4, 3, 12, 12)
    region = torch.zeros(4, 1, 12, 12, dtype=torch.bool)
    region[0, :, :8, :5] = region[1, :, 3:, 2:] = region[2] = True  # the last one is all padding
    result = apply(transformation, image, region=region)
    assert torch.equal(result.where(~region, 0), image.where(~region, 0))
    torch.testing.assert_close(result[:1, :, :8, :5], apply(transformation, image[:1, :, :8, :5]))
    torch.testing.assert_close(result[1:2, :, 3:, 2:], apply(transformation, image[1:2, :, 3:, 2:]))
    torch.testing.assert_close(result[2:3], apply(transformation, image[2:3]))


@pytest.mark.parametrize("transformation", ALL, ids=repr)
def test_pictures_stay_pictures(transformation):
    """In float32, where sums are not quite 1, at the bounds of [0, 1]; and the attack can be copied."""
    image = uniform(2, 3, 20, 20).round().float()
    result = apply(copy.deepcopy(transformation), image)
    assert result.dtype == torch.float32 and result.min() >= 0 and result.max() <= 1
    assert torch.equal(apply(pickle.loads(pickle.dumps(transformation)), image), result)
    ones = torch.ones(1, 3, 40, 40)
    expected = 1 - ones if isinstance(transformation, ColorReversal) else ones
    torch.testing.assert_close(apply(transformation, ones), expected)


def test_of_ones_own(tmp_path):
    class Darker(Transformation):
        def transform(self, image, seed):
            return image - seed.view(-1, 1, 1, 1)  # out of [0, 1]

    image = uniform(2, 3, 4, 4)
    result = apply(Darker(), image, torch.tensor([0, 1]))
    assert torch.equal(result[0], image[0]) and (result[1] == 0).all()


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: GaussianBlur(-1), ("GaussianBlur(sigma=-1)", "0 or more")),
        (lambda: GaussianBlur(float("nan")), ("GaussianBlur(sigma=nan)", "0 or more")),
        (lambda: GaussianBlur(1, 30), ("GaussianBlur(kernel_size=30)", "odd")),
        (lambda: MedianFilter(-1), ("MedianFilter(passes=-1)", "0 or more")),
        (lambda: MedianFilter(1, -1), ("MedianFilter(kernel_size=-1)", "1 or more")),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(make, parts):
    with pytest.raises(ValueError, match=one_line(*parts)):
        make()
