import pytest
import torch
from networks import fcn, linear, seeded, uniform
from one_line import one_line
from torch import nn
from torchmetrics.functional.image.lpips import _LPIPS

from callbacks.synthesis.perceptual import LPIPS
from lightning_modules import Network


class Colors(nn.Module):
    """One feature map: the pixels themselves, red twice, so that distances are known."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 4, 1, bias=False)
        self.maps.weight.data = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])[..., None, None]

    def forward(self, image):
        return self.maps(image).mean((2, 3))


def filled(*colors):
    return torch.tensor(colors).view(len(colors), 3, 1, 1).expand(-1, -1, 4, 4).clone()


def test_other_directions_are_far_and_other_lengths_are_not():
    red, dark_red, blue = filled((1.0, 0, 0)), filled((0.5, 0, 0)), filled((0, 0, 1.0))
    distance = LPIPS(Colors(), red)
    assert distance.layers == ["maps"]
    assert distance(red, red) == 0
    assert distance(red, dark_red) < 1e-12, "unit vectors"
    assert torch.isclose(distance(red, blue), torch.tensor([2.0])), "||(1, 0, 0) - (0, 0, 1)||^2"


def test_only_the_region_counts():
    image, other = filled((1.0, 0, 0), (1.0, 0, 0)), filled((1.0, 0, 0), (1.0, 0, 0))
    other[:, :, :, :1] = torch.tensor([0, 1.0, 0]).view(3, 1, 1)
    region = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    region[0, :, :, :2], region[1, :, :, 2:] = True, True
    distance = LPIPS(Colors(), image)
    assert torch.allclose(distance(image, other), torch.tensor([0.5, 0.5])), "2 in a quarter of the picture"
    assert torch.allclose(distance(image, other, region), torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "vgg16"])
def test_the_published_one_is_torchmetrics_of_the_same_weights(name):
    """Theirs takes images in [-1, 1] and normalises them by other numbers, which come to ImageNet's mean and std."""
    network = seeded(lambda: Network(name, 10)).eval()
    kind = {"alexnet": "alex", "squeezenet1_1": "squeeze", "vgg16": "vgg"}[name]
    theirs = _LPIPS(pretrained=True, net=kind, pnet_rand=True)
    features = dict(network.model.features.named_parameters())
    for key, value in theirs.net.named_parameters():
        value.data = features[".".join(key.split(".")[-2 - ("expand" in key or "squeeze" in key) :])].data
    image, other = uniform(2, 3, 64, 64).float(), uniform(2, 3, 64, 64, seed=1).float()
    expected = theirs(image, other, normalize=True).flatten()
    assert torch.allclose(LPIPS(network, image, published=True)(image, other), expected, rtol=1e-4)
    for layer in theirs.lins:
        layer.model[-1].weight.data.fill_(1)
    layers = LPIPS(network, image, published=True).layers
    assert torch.allclose(LPIPS(network, image, layers)(image, other), theirs(image, other, normalize=True).flatten())


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("vgg16", ["features.3", "features.8", "features.15", "features.22", "features.29", "avgpool"]),
        ("resnet18", ["relu", "layer1", "layer2", "layer3", "layer4"]),
        ("fcn_resnet50", ["backbone.relu", "backbone.layer1", "classifier.3"]),
        ("resnet_small", ["backbone.0", "backbone.1", "backbone.2", "backbone"]),
        ("fcn_small", ["backbone.0", "backbone.1", "backbone.2", "classifier.2"]),
        ("mobilenet_v3_small", ["features.0", "features.1", "features.3", "features.8", "features"]),
    ],
)
def test_the_maps_of_known_networks(name, layers):
    """Of VGG those of Zhang et al.; squeeze-and-excitation's pooling and the logits are none."""
    found = LPIPS(seeded(lambda: Network(name, 16)).eval(), torch.zeros(1, 3, 64, 64)).layers
    assert found == [f"model.{layer}" for layer in layers]


def test_a_distance_does_not_depend_on_the_batch():
    network, image, other = fcn().eval(), uniform(3, 3, 8, 8), uniform(3, 3, 8, 8, seed=1)
    together = LPIPS(network, image)(image, other)
    for i in range(3):
        assert torch.allclose(LPIPS(network, image[i : i + 1])(image[i : i + 1], other[i : i + 1]), together[i])


@pytest.mark.parametrize(
    ("network", "options", "line"),
    [
        (linear(), {}, "Sequential: no feature maps found for LPIPS; name some: layers=[...]"),
        (fcn(), {"layers": ["0", "9"]}, "layers: the network has no 9"),
        (fcn(), {"published": True}, "published weights for alexnet, squeezenet1_1, vgg16, not for Sequential"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(network, options, line):
    with pytest.raises(ValueError, match=one_line(line)):
        LPIPS(network.eval(), uniform(1, 3, 4, 4), **options)
