import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attacks import winograd

CPU = torch.device("cpu")


def made(count, channels, outputs, height, width, dtype=torch.float64):
    generator = torch.Generator().manual_seed(height * width)
    image = torch.randn(count, channels, height, width, generator=generator, dtype=dtype)
    weight = torch.randn(outputs, channels, 3, 3, generator=generator, dtype=dtype)
    return image.requires_grad_(), weight, torch.randn(outputs, generator=generator, dtype=dtype)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 4), (7, 5), (12, 12), (13, 8)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_it_is_the_convolution_and_has_its_gradient(dilation, size, with_bias):
    image, weight, bias = made(2, 5, 4, *size)
    bias = bias if with_bias else None
    expected = F.conv2d(image, weight, bias, padding=dilation, dilation=dilation)
    found = winograd.convolve(image, winograd.transformed(weight), bias, dilation)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, image, direction)
    (gradient,) = torch.autograd.grad(found, image, direction)
    torch.testing.assert_close(gradient, wanted)


def test_in_float32_it_is_no_further_from_the_truth_than_ten_roundings():
    image, weight, bias = made(1, 256, 256, 14, 14, torch.float32)
    expected = F.conv2d(image.double(), weight.double(), bias.double(), padding=1)
    found = winograd.convolve(image, winograd.transformed(weight), bias, 1)
    assert (found - expected).norm() < 10 * torch.finfo(torch.float32).eps * expected.norm()


@pytest.mark.parametrize(
    ("rows", "dilation", "expected"),
    [
        (2, 1, [(1, 6)] * 3 + [(1, 4)] + [(1, 6)] * 3 + [(1, 4)] + [(1, 6)] * 3 + [(1, 4)]),  # 7 rows of tiles an image
        (2, 2, [(1, 6)] * 2 * 3),  # 4 rows
        (14, 1, [(2, 16), (1, 16)]),
        (99, 1, [(3, 16)]),
    ],
)
def test_images_and_rows_go_in_several_turns(monkeypatch, rows, dilation, expected):
    image, weight, bias = made(3, 3, 4, 13, 6)
    whole = F.conv2d(image, weight, bias, padding=dilation, dilation=dilation)
    columns = 3 if dilation == 1 else 2
    monkeypatch.setattr(winograd, "FLOATS", rows * 16 * 4 * columns * dilation**2)
    seen = []
    work = winograd._convolved
    monkeypatch.setattr(
        winograd, "_convolved", lambda part, *rest: seen.append(tuple(part.shape[:2])) or work(part, *rest)
    )
    torch.testing.assert_close(winograd.convolve(image, winograd.transformed(weight), bias, dilation), whole)
    assert seen == expected


def test_what_comes_after_may_work_in_place():
    image, weight, bias = made(2, 3, 4, 5, 5)
    (wanted,) = torch.autograd.grad(F.conv2d(image, weight, bias, padding=1).relu().sum(), image)
    found = F.relu(winograd.convolve(image, winograd.transformed(weight), bias, 1), inplace=True)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), image)[0], wanted)


def test_weights_of_any_memory_format():
    _, weight, _ = made(1, 6, 4, 3, 3)
    expected = winograd.transformed(weight)
    torch.testing.assert_close(winograd.transformed(weight.to(memory_format=torch.channels_last)), expected)
    out = torch.empty_like(expected)
    assert winograd.transformed(weight, out) is out
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(
    ("changes", "serves"),
    [
        ({}, True),
        ({"padding": "same"}, True),
        ({"padding": 2, "dilation": 2}, True),
        ({"padding": 0}, False),
        ({"padding": 1, "dilation": 2}, False),
        ({"stride": 2}, False),
        ({"kernel_size": 1, "padding": 0}, False),
        ({"kernel_size": (3, 1), "padding": (1, 0)}, False),
        ({"groups": 2}, False),
        ({"padding_mode": "reflect"}, False),
        ({"in_channels": 128}, False),
        ({"out_channels": 128}, False),
        ({"dilation": (1, 2), "padding": (1, 2)}, False),
    ],
)
def test_which_convolutions_it_serves(changes, serves):
    settings = {"in_channels": 256, "out_channels": 256, "kernel_size": 3, "padding": 1, "device": "meta"}
    convolution = nn.Conv2d(**settings | changes)
    assert winograd.serves(convolution, CPU, torch.float32) == serves
    if serves:
        assert not winograd.serves(convolution, torch.device("cuda"), torch.float32)
        assert not winograd.serves(convolution, CPU, torch.bfloat16)


def test_a_derived_class_may_do_something_else():
    class Derived(nn.Conv2d):
        pass

    assert not winograd.serves(Derived(256, 256, 3, padding=1, device="meta"), CPU, torch.float32)
