import pytest
import torch
from networks import linear, uniform
from one_line import one_line
from torch import nn

from callbacks.synthesis.representation import Representation, pooled
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
