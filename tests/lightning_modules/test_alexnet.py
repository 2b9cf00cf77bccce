import pytest
import torch
import torch.nn.functional as F
from networks import seeded, uniform
from torch import nn
from torchvision.models import alexnet

from lightning_modules.alexnet import AlexNetBN

CONVOLUTIONS = [0, 4, 8, 11, 14]  # each followed by its batch norm and a ReLU
POOLED = [0, 4, 14]


@pytest.fixture(scope="module")
def network():
    network = seeded(lambda: AlexNetBN(5)).eval()
    for seed, norm in enumerate(m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        weight, bias, mean, var = uniform(4, norm.num_features, seed=seed).float()
        norm.weight.data, norm.bias.data = weight + 0.5, bias - 0.5
        norm.running_mean, norm.running_var = 0.1 * (mean - 0.5), 0.01 * (var + 0.5)
    return network.requires_grad_(False)


def test_logits(network):
    state, image = network.state_dict(), uniform(2, 3, 224, 224).float()
    x = image
    for layer in CONVOLUTIONS:
        stride, padding = {0: (4, 2), 4: (1, 2)}.get(layer, (1, 1))
        x = F.conv2d(x, state[f"features.{layer}.weight"], state[f"features.{layer}.bias"], stride, padding)
        weight, bias, mean, var = (
            state[f"features.{layer + 1}.{part}"].view(-1, 1, 1)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        x = ((x - mean) / (var + 1e-5).sqrt() * weight + bias).clamp(min=0)
        if layer in POOLED:
            x = F.max_pool2d(x, 3, 2)
    assert x.shape == (2, 256, 6, 6)
    x = x.flatten(1)
    for layer in 1, 4, 6:
        x = x @ state[f"classifier.{layer}.weight"].T + state[f"classifier.{layer}.bias"]
        x = x if layer == 6 else x.clamp(min=0)
    torch.testing.assert_close(network(image), x, rtol=1e-4, atol=1e-5)
    assert (x[0] - x[1]).abs().max() > 0.1  # it depends on the image


def test_only_batch_norms_are_added_to_torchvisions():
    with torch.device("meta"):
        ours, theirs = AlexNetBN(1000), alexnet()
    norms = [m for m in ours.features if isinstance(m, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [64, 192, 384, 256, 256]
    rest = [str(m) for m in ours.modules() if not isinstance(m, nn.BatchNorm2d | nn.Sequential | AlexNetBN)]
    assert rest == [str(m) for m in theirs.modules() if not isinstance(m, nn.Sequential | type(theirs))]
    assert sum(p.numel() for p in ours.parameters()) == 61_100_840 + 2 * (64 + 192 + 384 + 256 + 256)


def test_names(network):
    convolutions = {f"features.{i}.{part}" for i in CONVOLUTIONS for part in ("weight", "bias")}
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    norms = {f"features.{i + 1}.{part}" for i in CONVOLUTIONS for part in statistics}
    linear = {f"classifier.{i}.{part}" for i in (1, 4, 6) for part in ("weight", "bias")}
    assert network.state_dict().keys() == convolutions | norms | linear


@pytest.mark.parametrize("size", [(63, 63), (80, 129)], ids=str)
def test_other_sizes(network, size):
    assert network(uniform(2, 3, *size).float()).shape == (2, 5)


def test_in_eval_mode_a_sample_ignores_its_neighbours(network):
    image = uniform(2, 3, 80, 80).float()
    torch.testing.assert_close(network(image)[:1], network(image[:1]), rtol=1e-4, atol=1e-5)


def test_a_gradient_reaches_every_pixel_that_the_first_convolution_sees(network):
    image = uniform(1, 3, 95, 95).float().requires_grad_()  # (95 + 4 - 11) is a multiple of 4
    network(image)[:, 0].sum().backward()
    assert (image.grad != 0).float().mean() > 0.99


def test_the_dropout_share():
    with torch.device("meta"):
        network = AlexNetBN(5, dropout=0.1)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.1, 0.1]
