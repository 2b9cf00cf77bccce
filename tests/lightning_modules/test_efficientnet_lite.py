import pytest
import torch
from networks import seeded, uniform
from torch import nn
from torch.nn.functional import conv2d

from lightning_modules.efficientnet_lite import EfficientNetLite0, FCNEfficientNetLite0, SameConv2d, _Backbone


def settled(build):
    """A network in eval mode, float64; its batch norms know what arrives, for weights alone let it fade to nothing."""
    network = seeded(build).double()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1
    network(uniform(4, 3, 64, 64))
    return network.eval()


# Padding: in one dimension, known from TensorFlow's documentation of "SAME".


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "dilation", "before", "behind"),
    [
        (8, 3, 2, 1, 0, 1),  # an even side: windows at 0, 2, 4 and 6, of which the last reaches over the end
        (7, 3, 2, 1, 1, 1),
        (8, 5, 2, 1, 1, 2),
        (7, 5, 2, 1, 2, 2),
        (8, 3, 1, 1, 1, 1),
        (7, 5, 1, 1, 2, 2),
        (9, 3, 1, 2, 2, 2),
        (1, 3, 2, 1, 1, 1),
        (2, 1, 2, 1, 0, 0),  # nothing is cut off where a window is smaller than a step
    ],
)
def test_padding_by_the_actual_side(side, kernel, stride, dilation, before, behind):
    """Along each direction, whatever the other one takes: 7 by 3 takes one zero before and one behind."""
    for tall in (False, True):
        sides, kernels = ((side, 7), (kernel, 3)) if tall else ((7, side), (3, kernel))
        strides, dilations = ((stride, 1), (dilation, 1)) if tall else ((1, stride), (1, dilation))
        layer = seeded(lambda k=kernels, s=strides, d=dilations: SameConv2d(2, 3, k, s, dilation=d)).double()
        image = uniform(2, 2, *sides)
        zeros = (1, 1, before, behind) if tall else (before, behind, 1, 1)
        padded = torch.nn.functional.pad(image, zeros)
        expected = conv2d(padded, layer.weight, layer.bias, strides, 0, dilations)
        torch.testing.assert_close(layer(image), expected)
        assert layer(image).shape[2:] == (-(-side // stride), 7)[:: 1 if tall else -1]


def test_the_side_of_each_call_counts():
    layer = seeded(lambda: SameConv2d(1, 1, 3, 2, bias=False)).double()
    image = uniform(1, 1, 8, 8)
    first = layer(image)
    assert layer(image[..., :7]).shape == (1, 1, 4, 4)
    assert torch.equal(layer(image), first)


# The classifier.


def test_its_size_is_the_published_one():
    with torch.device("meta"):
        network = EfficientNetLite0(1000)
    assert sum(p.numel() for p in network.parameters()) == 4_652_008
    assert len(network._blocks) == 16
    assert [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)] == ["_fc"]
    assert {layer.eps for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)} == {1e-3}


def test_its_names_and_shapes_are_those_of_the_published_file():
    """As the file lists them; of the blocks, one of each stage."""
    with torch.device("meta"):
        state = EfficientNetLite0(1000).state_dict()
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    layers = {"_conv_stem": ("weight",), "_bn0": norm, "_conv_head": ("weight",), "_bn1": norm, "_fc": norm[:2]}
    for i in range(16):
        own = {"_expand_conv": ("weight",), "_bn0": norm} if i else {}
        own |= {"_depthwise_conv": ("weight",), "_bn1": norm, "_project_conv": ("weight",), "_bn2": norm}
        layers |= {f"_blocks.{i}.{layer}": parts for layer, parts in own.items()}
    assert state.keys() == {f"{layer}.{part}" for layer, parts in layers.items() for part in parts}
    shapes = {key.removesuffix(".weight"): tuple(value.shape) for key, value in state.items() if value.ndim > 1}
    assert (shapes["_conv_stem"], shapes["_conv_head"]) == ((32, 3, 3, 3), (1280, 320, 1, 1))
    blocks = {0: (32, 3, 16), 2: (144, 3, 24), 4: (240, 5, 40), 7: (480, 3, 80), 10: (672, 5, 112), 14: (1152, 5, 192),
              15: (1152, 3, 320)}  # fmt: skip
    for i, (width, kernel, outputs) in blocks.items():
        assert shapes[f"_blocks.{i}._depthwise_conv"] == (width, 1, kernel, kernel)
        assert shapes[f"_blocks.{i}._project_conv"] == (outputs, width, 1, 1)


@pytest.mark.parametrize("size", [(64, 64), (33, 70)], ids=str)
def test_the_classifier_gives_logits_of_the_mean_representation(size):
    network, image = settled(lambda: EfficientNetLite0(5)), uniform(2, 3, *size)
    features = _Backbone.forward(network, image)
    assert features.shape == (2, 1280, *(-(-side // 32) for side in size))
    torch.testing.assert_close(network(image), network._fc(features.mean((2, 3))))


@pytest.mark.parametrize("build", [EfficientNetLite0, FCNEfficientNetLite0])
def test_every_weight_has_a_gradient_and_samples_are_alone_in_eval_mode(build):
    network, image = settled(lambda: build(3)), uniform(2, 3, 64, 64).requires_grad_()
    logits = network(image)
    torch.testing.assert_close(network(image[:1]), logits[:1])
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    assert (image.grad != 0).float().mean() > 0.99


# The FCN.


@pytest.mark.parametrize("size", [(64, 64), (45, 70)], ids=str)
def test_the_fcn_gives_logits_of_the_images_size(size):
    network = seeded(lambda: FCNEfficientNetLite0(5)).eval()
    image = uniform(1, 3, *size).float()
    assert network(image).shape == (1, 5, *size)
    assert network.backbone(image).shape == (1, 1280, *(-(-side // 16) for side in size))


def test_a_dilated_backbone_sees_what_the_strided_one_sees_and_more():
    """Of an even side, the strided one's pixels are every other of the dilated one's, from the second on."""
    strided = settled(_Backbone)
    dilated = _Backbone(16).double().eval()
    dilated.load_state_dict(strided.state_dict())
    image = uniform(1, 3, 128, 96)
    features = strided(image)
    assert features.std() > 0.1
    torch.testing.assert_close(dilated(image)[..., 1::2, 1::2], features)
