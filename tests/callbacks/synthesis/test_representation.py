import pytest
import torch
from networks import linear, uniform
from one_line import one_line
from torch import nn

from callbacks.synthesis.representation import Representation, pooled, region_of
from lightning_modules import Network


class TwoHeads(nn.Module):
    """The last map that is called makes no class scores."""

    def __init__(self):
        super().__init__()
        self.body, self.fc, self.after = nn.Conv2d(3, 5, 3), nn.Linear(5, 4), nn.Linear(4, 7)

    def forward(self, image):
        logits = self.fc(self.body(image).mean((2, 3)))
        self.after(logits)
        return {"out": logits}


@pytest.mark.parametrize(
    ("name", "layer", "units"),
    [("resnet_small", "model.fc", 128), ("fcn_small", "model.classifier.3", 64),
     ("alexnet", "model.classifier.6", 4096), ("mobilenet_v3_small", "model.classifier.3", 1024),
     ("squeezenet1_1", "model.classifier.1", 512), ("vit_b_16", "model.heads.head", 768),
     ("lraspp_mobilenet_v3_large", "model.classifier.high_classifier", 128)],
)  # fmt: skip
def test_it_is_found_by_looking(name, layer, units):
    size = 224 if name == "vit_b_16" else 64
    network = Network(name, num_classes=6).eval()
    image = torch.rand(2, 3, size, size)
    found = Representation(network, image)
    assert (found.name, found.units) == (layer, units)
    representation, logits = found(image)
    assert torch.equal(logits, network(image))
    assert found.weight.shape == (6, units)
    if name == "resnet_small":
        assert torch.allclose(representation @ found.weight.T + network.model.fc.bias, logits, atol=1e-6)
    assert not network.get_submodule(layer)._forward_pre_hooks


def test_a_network_without_a_last_linear_map_is_told_and_another_layer_can_be_named():
    network, image = TwoHeads().eval(), torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"TwoHeads: has no last linear map.*layer="):
        Representation(network, image)
    assert Representation(network, image, "fc").units == 5
    with pytest.raises(ValueError, match=one_line("layer=fd: the network has no such layer; it has fc")):
        Representation(network, image, "fd")


def test_a_unit_beyond_the_representation_is_told():
    found = Representation(linear(), uniform(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"features=48: the representation \(1\) has 48 units, from 0"):
        found.check_unit(48, "features")
    found.check_unit(47, "features")


def test_the_mean_over_a_region_counts_its_pixels_alone():
    representation = torch.arange(16.0).view(1, 1, 4, 4)
    region = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    region[..., :2, :4] = True  # the first two pixels of the representation
    assert pooled(representation, region).item() == 0.5
    region[..., 0, 4] = True  # a quarter of the third
    assert pooled(representation, region).item() == pytest.approx((0 + 1 + 2 / 4) / 2.25)
    assert pooled(representation).item() == 7.5
    assert torch.equal(pooled(representation.flatten(1)), representation.flatten(1))


class Twice(nn.Module):
    """One ReLU, in place, that is called twice; the representation is what comes of the second."""

    def __init__(self):
        super().__init__()
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(12, 2)

    def forward(self, image):
        first = self.relu(image.flatten(1) - 0.5)
        return self.fc(self.relu(first - 0.1))


def test_the_gradient_passes_the_last_relu_alone_as_if_it_were_none():
    network, image = Twice().double(), uniform(2, 3, 2, 2).requires_grad_()
    plain, fake = Representation(network, image), Representation(network, image, fake_relu=True)
    assert all(torch.equal(a, b) for a, b in zip(plain(image), fake(image), strict=True))
    for representation, threshold in ((plain, 0.6), (fake, 0.5)):
        (gradient,) = torch.autograd.grad(representation(image)[0].sum(), image)
        assert torch.equal(gradient, (image > threshold).double())
    assert not network.relu._forward_hooks and not network.relu._forward_pre_hooks


@pytest.mark.parametrize(("name", "call"), [("resnet_small", 2), ("fcn_small", 1), ("resnet50", 3),
                          ("efficientnet_lite0", 1)])  # fmt: skip
def test_the_last_relu_is_found(name, call):
    network, image = Network(name, num_classes=6).eval(), torch.rand(1, 3, 64, 64)
    representation = Representation(network, image, fake_relu=True)
    assert representation._relu[1] == call
    assert torch.equal(representation(image)[0], Representation(network, image)(image)[0])


@pytest.mark.parametrize("name", ["vit_b_16", "mobilenet_v3_small"])
def test_where_no_relu_makes_the_representation_it_is_told(name):
    network, image = Network(name, num_classes=6).eval(), torch.rand(1, 3, 224, 224)
    with pytest.raises(
        ValueError, match=one_line("fake_relu: no nn.ReLU or nn.ReLU6 makes the representation", "leave it out")
    ):
        Representation(network, image, fake_relu=True)


def test_a_mask_must_fit_its_image():
    image, mask = uniform(2, 3, 4, 4), torch.ones(2, 1, 4, 4, dtype=torch.bool)
    assert region_of({"image": image}) is None
    assert region_of({"image": image, "mask": mask}) is mask
    with pytest.raises(ValueError, match=one_line("a mask is 4 x 3, and its image 4 x 4 pixels")):
        region_of({"image": image, "mask": mask[..., 1:]})
    mask[1] = False
    with pytest.raises(ValueError, match=one_line("a mask has no pixel inside")):
        region_of({"image": image, "mask": mask})
