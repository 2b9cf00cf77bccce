import pytest
import torch
import torch.nn.functional as F
from networks import seeded, uniform
from torch import nn

from lightning_modules.wide_resnet import DMWideResNet, WideResNet

NETWORKS = [WideResNet, DMWideResNet]


def tiny(network, depth=10, width=2, classes=3):
    """A small one whose batch norms all do something; float64, in eval mode."""
    network = seeded(lambda: network(classes, depth=depth, width=width)).double().eval()
    for seed, norm in enumerate(m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var = uniform(
            4, norm.num_features, seed=seed
        ) + torch.tensor([[0.5], [-0.5], [-0.5], [0.5]])
    return network


def norm(state, name, x):
    weight, bias, mean, var = (
        state[f"{name}.{part}"].view(-1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def by_hand(state, x, depth):
    """WideResNet's logits, straight from its weights."""
    x = F.conv2d(x, state["conv1.weight"], padding=1)
    for stage in 1, 2, 3:
        for i in range((depth - 4) // 6):
            name, stride = f"block{stage}.layer.{i}", 2 if stage > 1 and i == 0 else 1
            out = norm(state, f"{name}.bn1", x).clamp(min=0)
            if f"{name}.convShortcut.weight" in state:
                x = F.conv2d(out, state[f"{name}.convShortcut.weight"], stride=stride)
            out = F.conv2d(out, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            x = x + F.conv2d(norm(state, f"{name}.bn2", out).clamp(min=0), state[f"{name}.conv2.weight"], padding=1)
    return norm(state, "bn1", x).clamp(min=0).mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def dm_by_hand(state, x, depth):
    """DMWideResNet's; a stride of 2 keeps pixels 1, 3, ... of an even size, and 0, 2, ... of an odd one."""
    x = F.conv2d(x, state["init_conv.weight"], padding=1)
    for stage in 0, 1, 2:
        for i in range((depth - 4) // 6):
            name, stride = f"layer.{stage}.block.{i}", 2 if stage > 0 and i == 0 else 1
            out = norm(state, f"{name}.batchnorm_0", x)
            out = out * out.sigmoid()
            if f"{name}.shortcut.weight" in state:
                x = F.conv2d(out, state[f"{name}.shortcut.weight"], stride=stride)
            out = F.conv2d(out, state[f"{name}.conv_0.weight"], padding=1)
            if stride == 2:
                out = out[..., 1 - out.shape[-2] % 2 :: 2, 1 - out.shape[-1] % 2 :: 2]
            out = norm(state, f"{name}.batchnorm_1", out)
            x = x + F.conv2d(out * out.sigmoid(), state[f"{name}.conv_1.weight"], padding=1)
    out = norm(state, "batchnorm", x)
    return (out * out.sigmoid()).mean((2, 3)) @ state["logits.weight"].T + state["logits.bias"]


@pytest.mark.parametrize(("network", "forward"), [(WideResNet, by_hand), (DMWideResNet, dm_by_hand)])
@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 2)], ids=str)
@pytest.mark.parametrize("size", [(16, 24), (18, 13)], ids=str)
def test_logits(network, forward, depth, width, size):
    network, image = tiny(network, depth, width), uniform(2, 3, *size)
    expected = forward(network.state_dict(), image, depth)
    torch.testing.assert_close(network(image), expected)
    assert (expected[0] - expected[1]).abs().max() > 1e-3  # it depends on the image


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("depth", "width", "parameters"), [(28, 10, 36_479_194), (34, 10, 46_160_474)])
def test_parameters(network, depth, width, parameters):
    with torch.device("meta"):
        network = network(10, depth=depth, width=width)
    assert sum(p.numel() for p in network.parameters()) == parameters


BATCH_NORM = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def keys(norms, convolutions):
    return {f"{norm}.{part}" for norm in norms for part in BATCH_NORM} | {f"{conv}.weight" for conv in convolutions}


def test_names():
    norms, convolutions = ["bn1"], ["conv1"]
    for stage in 1, 2, 3:
        convolutions.append(f"block{stage}.layer.0.convShortcut")
        for i in range(4):
            norms += [f"block{stage}.layer.{i}.bn1", f"block{stage}.layer.{i}.bn2"]
            convolutions += [f"block{stage}.layer.{i}.conv1", f"block{stage}.layer.{i}.conv2"]
    with torch.device("meta"):
        state = WideResNet(10).state_dict()
    assert state.keys() == keys(norms, convolutions) | {"fc.weight", "fc.bias"}
    assert state["conv1.weight"].shape == (16, 3, 3, 3)
    assert state["block2.layer.0.conv1.weight"].shape == (320, 160, 3, 3)
    assert state["block3.layer.0.convShortcut.weight"].shape == (640, 320, 1, 1)
    assert state["fc.weight"].shape == (10, 640)


def test_dm_names():
    norms, convolutions = ["batchnorm"], ["init_conv"]
    for stage in 0, 1, 2:
        convolutions.append(f"layer.{stage}.block.0.shortcut")
        for i in range(4):
            norms += [f"layer.{stage}.block.{i}.batchnorm_0", f"layer.{stage}.block.{i}.batchnorm_1"]
            convolutions += [f"layer.{stage}.block.{i}.conv_0", f"layer.{stage}.block.{i}.conv_1"]
    with torch.device("meta"):
        state = DMWideResNet(10).state_dict()
    assert state.keys() == keys(norms, convolutions) | {"logits.weight", "logits.bias"}
    assert state["init_conv.weight"].shape == (16, 3, 3, 3)
    assert state["layer.1.block.0.conv_0.weight"].shape == (320, 160, 3, 3)
    assert state["layer.2.block.0.shortcut.weight"].shape == (640, 320, 1, 1)
    assert state["logits.weight"].shape == (10, 640)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(32, 32), (17, 30), (64, 19)], ids=str)
def test_any_size(network, size):
    assert tiny(network, width=1)(uniform(2, 3, *size)).shape == (2, 3)


@pytest.mark.parametrize("network", NETWORKS)
def test_in_eval_mode_a_sample_ignores_its_neighbours(network):
    network, image = tiny(network), uniform(3, 3, 16, 16)
    torch.testing.assert_close(network(image)[:1], network(image[:1]))


@pytest.mark.parametrize("network", NETWORKS)
def test_every_pixel_and_every_weight_has_a_gradient(network):
    network, image = tiny(network).train(), uniform(2, 3, 15, 16).requires_grad_()
    network(image).square().sum().backward()
    assert (image.grad != 0).all()
    assert all(p.grad.any() for p in network.parameters())


def test_dropout_in_train_mode_only():
    torch.manual_seed(0)
    network = WideResNet(3, depth=10, width=1, dropout=0.5).requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    image = uniform(2, 3, 8, 8).float()
    assert (network(image) != network(image)).any()
    network.eval()
    assert (network(image) == network(image)).all()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("depth", [4, 20, 30])
def test_depths_that_do_not_exist(network, depth):
    with pytest.raises(ValueError, match=f"not {depth}"):
        network(10, depth=depth)


@pytest.mark.parametrize("network", NETWORKS)
def test_initial_weights(network):
    network = seeded(lambda: network(10, depth=10, width=1))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)
        elif isinstance(module, nn.Linear):
            assert not module.bias.any()
