import pytest
import torch
import torch.nn.functional as F
from networks import seeded, uniform
from torch import nn

from lightning_modules.preact_resnet import PreActResNet18


def tiny():
    """A narrow one whose batch norms all do something; float64, in eval mode."""
    network = seeded(lambda: PreActResNet18(3, width=4)).double().eval()
    for seed, norm in enumerate(m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var = uniform(
            4, norm.num_features, seed=seed
        ) + torch.tensor([[0.5], [-0.5], [-0.5], [0.5]])
    return network


def by_hand(state, x):
    """The logits, straight from the weights."""

    def activation(name, x):
        weight, bias, mean, var = (
            state[f"{name}.{part}"].view(-1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var")
        )
        return ((x - mean) / (var + 1e-5).sqrt() * weight + bias).clamp(min=0)

    x = F.conv2d(x, state["conv1.weight"], padding=1)
    for name in (f"layer{stage}.{i}" for stage in (1, 2, 3, 4) for i in (0, 1)):
        stride = 1 if name in ("layer1.0", "layer1.1") or name.endswith(".1") else 2
        out = F.conv2d(activation(f"{name}.bn1", x), state[f"{name}.conv1.weight"], stride=stride, padding=1)
        out = F.conv2d(activation(f"{name}.bn2", out), state[f"{name}.conv2.weight"], padding=1)
        x = out + (F.conv2d(x, state[f"{name}.shortcut.0.weight"], stride=2) if stride == 2 else x)
    return activation("bn", x).mean((2, 3)) @ state["linear.weight"].T + state["linear.bias"]


def test_logits():
    network, image = tiny(), uniform(2, 3, 32, 24)
    expected = by_hand(network.state_dict(), image)
    torch.testing.assert_close(network(image), expected)
    assert (expected[0] - expected[1]).abs().max() > 1e-3  # it depends on the image


def test_parameters():
    with torch.device("meta"):
        network = PreActResNet18(10)
    norms, convolutions = ["bn"], ["conv1"] + [f"layer{stage}.0.shortcut.0" for stage in (2, 3, 4)]
    for block in (f"layer{stage}.{i}" for stage in (1, 2, 3, 4) for i in (0, 1)):
        norms += [f"{block}.bn1", f"{block}.bn2"]
        convolutions += [f"{block}.conv1", f"{block}.conv2"]
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    state = network.state_dict()
    assert state.keys() == {f"{norm}.{part}" for norm in norms for part in parts} | {
        *(f"{convolution}.weight" for convolution in convolutions),
        "linear.weight",
        "linear.bias",
    }
    assert state["conv1.weight"].shape == (64, 3, 3, 3)
    assert state["layer2.0.conv1.weight"].shape == (128, 64, 3, 3)
    assert state["layer4.0.shortcut.0.weight"].shape == (512, 256, 1, 1)
    assert state["linear.weight"].shape == (10, 512)
    assert sum(p.numel() for p in network.parameters()) == 11_171_146 + 2 * 512  # kuangliu's, and the final `bn`


@pytest.mark.parametrize("size", [(32, 32), (17, 30), (64, 19)], ids=str)
def test_any_size(size):
    assert tiny()(uniform(2, 3, *size)).shape == (2, 3)


def test_in_eval_mode_a_sample_ignores_its_neighbours():
    network, image = tiny(), uniform(3, 3, 16, 16)
    torch.testing.assert_close(network(image)[:1], network(image[:1]))


def test_every_pixel_and_every_weight_has_a_gradient():
    network, image = tiny().train(), uniform(2, 3, 15, 16).requires_grad_()
    network(image).square().sum().backward()
    assert (image.grad != 0).all()
    assert all(p.grad.any() for p in network.parameters())
