import pytest
import torch
from networks import fcn, linear, seeded, uniform
from one_line import one_line
from torch import nn

from callbacks import FirstFilters
from callbacks.insight.first_filters import filter_picture, first_filters
from lightning_modules import Network

IMAGE = uniform(2, 3, 16, 16)


def test_a_weight_of_a_half_is_full_colour_whatever_the_others_are():
    weight = torch.zeros(4, 3, 2, 2)
    weight[1, 0, 0, 1], weight[2, 2] = 0.7, -0.25
    shown = filter_picture(weight)
    assert shown.shape == (3, 2 * 34 - 2, 2 * 34 - 2), "two rows of two, each 32 pixels wide and two apart"
    assert (shown[:, :32, :32] == 0.5).all()
    assert (shown[0, :16, 50:66] == 1).all() and (shown[1:, :16, 50:66] == 0.5).all()
    assert (shown[2, 34:, :32] == 0.25).all() and (shown[:2, 34:, :32] == 0.5).all()
    assert (shown[:, 32:34] == 1).all() and (shown[:, :, 32:34] == 1).all()


def test_what_is_missing_in_the_last_row_is_white():
    shown = filter_picture(torch.zeros(5, 3, 7, 7))
    assert shown.shape == (3, 3 * 30 - 2, 2 * 30 - 2) and (shown[:, 60:, 30:] == 1).all()


def test_it_shows_the_first_convolution_and_how_large_its_filters_are():
    network = seeded(lambda: Network("resnet_small", 4)).double()
    network.model.backbone[0][0].weight.data[1, :, 0] = 0.75
    (painting,) = FirstFilters().synthesize(network, {"image": IMAGE})
    weight = network.model.backbone[0][0].weight.detach()
    assert torch.equal(painting.result, filter_picture(weight).expand(2, -1, -1, -1))
    norms = weight.flatten(1).norm(dim=1)
    assert painting.scores["filter_norm"].tolist() == [float(norms.mean())] * 2
    assert painting.scores["filter_clipped"].tolist() == [pytest.approx(9 / weight.numel())] * 2
    assert network.training


def test_of_two_networks_the_filters_half_as_large_are_half_as_far_from_grey():
    networks = fcn(), fcn()
    for times, network in enumerate(networks, 1):
        network[0].weight.data /= 4 * times
    one, other = (FirstFilters().synthesize(network, {"image": IMAGE})[0].result[0] for network in networks)
    inside = one != 1  # white is between the filters
    assert torch.allclose(other[inside] - 0.5, (one[inside] - 0.5) / 2) and (one[inside] - 0.5).abs().max() > 0.1


@pytest.mark.parametrize(
    ("network", "layer", "line"),
    [(linear(size=16), None, "layer=1: is a Linear, no convolution; its first layer with weights"),
     (fcn(), "2", "layer=2: is a ReLU, no convolution; name a convolution"),
     (fcn(), "4", "layer=4: its filters have 8 channels; only those of 3 are pictures"),
     (fcn(), "5", "layer=5: the network has no such layer; it has "),
     (nn.Sequential(nn.Flatten()), None, "uses no convolution; there are no filters to show")],
)  # fmt: skip
def test_what_has_no_pictures_is_told(network, layer, line):
    with pytest.raises(ValueError, match=one_line(line)):
        FirstFilters(layer).check(network, {"image": IMAGE, "label": torch.tensor([0, 1])})


def test_the_first_is_the_first_that_is_used():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.stem = nn.Conv2d(4, 2, 1), nn.Conv2d(3, 4, 3)

        def forward(self, image):
            return self.head(self.stem(image))

    network = Backwards().double()
    assert torch.equal(first_filters(network, IMAGE), network.stem.weight)
