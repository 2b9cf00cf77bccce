from itertools import pairwise

import pytest
import torch
from networks import fcn, linear, seeded, uniform
from torch import nn

from attacks import APGD, Linf, Square
from attacks.margins import margin


def classifier():
    """A small classifier of 8 x 8 pixels; float64."""
    network = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
        )
    ).double()
    for parameter in network.parameters():
        parameter.data *= 3
    return network.eval()


PICTURES = uniform(16, 3, 8, 8, seed=6)


class Steps(nn.Module):
    """The same decisions from logits that are flat almost everywhere: no gradient leads anywhere."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return (20 * self.network(image)).round() / 20


def accuracy(network, image, label):
    return (network(image).argmax(1) == label).double().mean().item()


def test_it_breaks_what_hides_its_gradient():
    network = Steps(classifier())
    label = network(PICTURES).argmax(1)
    eps = Linf(0.1)
    blind = accuracy(network, APGD(eps, steps=20)(network, PICTURES, label), label)
    assert accuracy(network, Square(eps, queries=200)(network, PICTURES, label), label) < blind - 0.3


def test_more_queries_never_lower_the_margin():
    network, label = classifier(), classifier()(PICTURES).argmax(1)
    margins = []
    for queries in (1, 5, 40):
        with torch.no_grad():
            margins.append(margin(network(Square(Linf(0.05), queries)(network, PICTURES, label)), label))
    for before, after in pairwise(margins):
        won = before > 0
        assert (after >= before).all() and torch.equal(after[won], before[won]), "what is lost is let be"
    assert (margins[2] > margins[0]).any()


def test_it_starts_from_vertical_stripes_of_plus_and_minus_eps():
    image = torch.full((2, 3, 8, 8), 0.5, dtype=torch.float64)
    delta = Square(Linf(0.1), queries=1)(linear(2, 8), image, torch.tensor([0, 1])) - image
    assert torch.allclose(delta.abs(), torch.full_like(delta, 0.1))
    assert torch.equal(delta, delta[:, :, :1].expand_as(delta))
    assert len(delta[0, :, 0].unique()) == 2 and not torch.equal(delta[0], delta[1])


def test_a_step_changes_one_square_of_the_schedules_size():
    image = torch.full((3, 3, 40, 40), 0.5, dtype=torch.float64)
    for progress, side in ((0.0, 36), (0.003, 25), (0.3, 4), (0.9, 2)):
        changed = Square(Linf(0.1), 100)._with_square(image, image, torch.tensor([1, 2, 3]), progress) != image
        for one in changed:
            rows, columns = one.any(0).any(1), one.any(0).any(0)
            assert rows.sum() == columns.sum() == side
            assert one[:, rows][:, :, columns].all()


def test_it_asks_for_no_gradient():
    network, label = fcn().eval(), torch.zeros(2, 6, 6, dtype=torch.long)
    asked = []
    network.register_forward_hook(lambda module, inputs, output: asked.append(output.requires_grad))
    Square(Linf(0.1), queries=7)(network, uniform(2, 3, 6, 6), label)
    assert asked == [False] * 7


@pytest.mark.parametrize("options", [{"queries": 0}, {"area": 0.0}, {"area": 1.5}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match="Square: queries="):
        Square(Linf(0.1), **options)
