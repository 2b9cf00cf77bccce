import pytest
import torch
from networks import fcn, linear, uniform
from one_line import one_line
from torch import nn

from callbacks.synthesis.layer_output import LayerOutput

IMAGE = uniform(2, 3, 4, 4)


def test_it_is_the_sum_over_all_places():
    network = fcn().eval()
    found, logits = LayerOutput(network, IMAGE, "1")(IMAGE)
    assert torch.allclose(found, network[1](network[0](IMAGE)).sum((2, 3)))
    assert torch.equal(logits, network(IMAGE))
    assert LayerOutput(network, IMAGE, "1").units == 8


def test_of_a_linear_layer_it_is_its_output():
    network = linear()
    assert torch.equal(LayerOutput(network, IMAGE, "1")(IMAGE)[0], network(IMAGE))


@pytest.mark.parametrize("dense", [True, False])
def test_what_works_on_it_in_place_afterwards_does_not_count(dense):
    layers = [nn.Conv2d(3, 5, 1)] if dense else [nn.Flatten(), nn.Linear(48, 5)]
    network = nn.Sequential(*layers, nn.ReLU(inplace=True)).double()
    image = IMAGE.clone().requires_grad_()
    found, _ = LayerOutput(network, IMAGE, str(len(layers) - 1))(image)
    output = network[:-1](IMAGE)
    assert torch.allclose(found, output.sum((2, 3)) if dense else output) and (output < 0).any()
    (gradient,) = torch.autograd.grad(found[:, 0].sum(), image)
    assert (gradient != 0).all()


@pytest.mark.parametrize(
    ("layer", "line"),
    [("7", "layer=7: the network has no such layer; it has "), ("unused", "the network does not use it"),
     ("pair", "layer=pair: gives a tuple, no (B, K, H, W)"), ("flat", "layer=flat: gives (16,), no (B, K, H, W)")],
)  # fmt: skip
def test_a_layer_that_gives_nothing_of_use_is_told(layer, line):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.pair, self.flat = nn.Conv2d(3, 2, 1), Pair(), nn.Flatten(0)

        def forward(self, image):
            self.flat(image[:1, 0])
            return self.pair(image)[0]

    class Pair(nn.Module):
        def forward(self, image):
            return image, image

    with pytest.raises(ValueError, match=one_line(line)):
        LayerOutput(Odd(), IMAGE, layer)


def test_a_filter_that_it_does_not_have_is_told():
    output = LayerOutput(fcn(), IMAGE, "0")
    output.check_unit(7, "filters")
    with pytest.raises(ValueError, match=one_line("filters=8: the layer (0) has 8 filters, from 0")):
        output.check_unit(8, "filters")
