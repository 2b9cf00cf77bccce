import pytest
import torch
from networks import fcn, linear, seeded, uniform
from torch import nn

from attacks import APGD, L2, Linf, Square
from attacks.margins import margin
from attacks.square import _Bumps, _Signs, bump


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


@pytest.mark.parametrize("ball", [Linf(0.1), L2(1.0)], ids=repr)
def test_it_breaks_what_hides_its_gradient(ball):
    network = Steps(classifier())
    label = network(PICTURES).argmax(1)
    blind = accuracy(network, APGD(ball, steps=20)(network, PICTURES, label), label)
    assert accuracy(network, Square(ball, queries=200)(network, PICTURES, label), label) < blind - 0.3


@pytest.mark.parametrize("ball", [Linf(0.05), L2(0.4)], ids=repr)
def test_more_queries_never_lower_the_margin(ball):
    network, label = classifier(), classifier()(PICTURES).argmax(1)
    margins = []
    for queries in (1, 5, 80):
        with torch.no_grad():
            margins.append(margin(network(Square(ball, queries)(network, PICTURES, label)), label))
    before = margins[0]  # later queries differ with the schedule
    for after in margins[1:]:
        won = before > 0
        assert (after >= before).all() and torch.equal(after[won], before[won]), "what is lost is let be"
        assert won.any() and (after > before).any()


def test_it_starts_from_vertical_stripes_of_plus_and_minus_eps():
    image = torch.full((2, 3, 8, 8), 0.5, dtype=torch.float64)
    delta = Square(Linf(0.1), queries=1)(linear(2, 8), image, torch.tensor([0, 1])) - image
    assert torch.allclose(delta.abs(), torch.full_like(delta, 0.1))
    assert torch.equal(delta, delta[:, :, :1].expand_as(delta))
    assert len(delta[0, :, 0].unique()) == 2 and not torch.equal(delta[0], delta[1])


@pytest.mark.parametrize(("ball", "sides"), [(Linf(0.1), (36, 25, 4, 2)), (L2(1), (36, 25, 4, 3))], ids=["Linf", "L2"])
def test_the_squares_follow_the_schedule(ball, sides):
    attack = Square(ball, 100)
    assert tuple(attack._side(progress, 40, 40) for progress in (0.0, 0.003, 0.3, 0.9)) == sides
    assert attack._side(0.0, 2, 30) == 2


def test_a_step_sets_one_square_to_plus_or_minus_eps():
    image = torch.full((3, 3, 40, 40), 0.5, dtype=torch.float64)
    changed = _Signs(0.1).change(image, image, 7, uniform(3, 8))
    for one in changed != image:
        rows, columns = one.any(0).any(1), one.any(0).any(0)
        assert rows.sum() == columns.sum() == 7
        assert one[:, rows][:, :, columns].all()
    assert torch.allclose((changed - image).abs().amax((1, 2, 3)), torch.tensor(0.1).double())


def test_a_bump_is_a_hill_over_a_valley():
    expected = torch.tensor(
        [[1, 5, 1], [-1, -1, -1], [-1, -5, -1]], dtype=torch.float64
    )  # quarters of the paper's sums
    torch.testing.assert_close(bump(3), expected / expected.norm())
    for side in range(1, 9):
        torch.testing.assert_close(bump(side).norm(), torch.tensor(1.0).double())


def test_the_l2_search_starts_from_five_by_five_bumps_of_norm_eps():
    image = torch.full((2, 3, 17, 16), 0.5, dtype=torch.float64)
    delta = _Bumps(0.7).start(image, torch.tensor([3, 4])) - image
    torch.testing.assert_close(delta.flatten(1).norm(dim=1), torch.full((2,), 0.7).double())
    tiles = delta[:, :, 1:16, :15].unfold(2, 3, 3).unfold(3, 3, 3)
    assert tiles.shape[2:4] == (5, 5)
    ratio = tiles / bump(3)
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))
    assert len(ratio.sign().unique()) == 2 and not torch.equal(ratio[0], ratio[1])


def test_an_l2_step_is_that_of_algorithm_3():
    """Sample by sample and channel by channel, against what `change` does with masks."""
    image, eps, side = 0.4 + 0.2 * uniform(6, 3, 9, 8), 0.8, 3
    best = image + 0.05 * (uniform(6, 3, 9, 8, seed=1) - 0.5)
    chance = uniform(6, 8, seed=2)
    chance[0, 2:4] = chance[0, :2]  # the same square twice
    result = _Bumps(eps).change(best, image, side, chance)
    assert {bool(c > 0.5) for c in chance[:, 4]} == {True, False}
    for x, before, c, after in zip(image, best, chance, result, strict=True):
        delta = before - x
        (r, s), (r2, s2) = [(int(u * (9 - side + 1)), int(v * (8 - side + 1))) for u, v in (c[:2], c[2:4])]
        unused = eps**2 - delta.norm() ** 2
        union = torch.zeros(9, 8, dtype=torch.bool)
        union[r : r + side, s : s + side] = union[r2 : r2 + side, s2 : s2 + side] = True
        expected = delta.clone()
        for i in range(3):
            window = delta[i, r : r + side, s : s + side]
            tile = bump(side) if c[4] < 0.5 else bump(side).T
            new = (1 if c[5 + i] >= 0.5 else -1) * tile + window / window.norm()
            expected[i, r2 : r2 + side, s2 : s2 + side] = 0
            held = delta[i][union].square().sum() + unused / 3
            expected[i, r : r + side, s : s + side] = new / new.norm() * held.sqrt()
        torch.testing.assert_close(after - x, expected)
        torch.testing.assert_close(expected.norm(), torch.tensor(eps).double())


def test_it_asks_for_no_gradient():
    network, label = fcn().eval(), torch.zeros(2, 6, 6, dtype=torch.long)
    asked = []
    network.register_forward_hook(lambda module, inputs, output: asked.append(output.requires_grad))
    for ball in Linf(0.1), L2(0.5):
        Square(ball, queries=7)(network, uniform(2, 3, 6, 6), label)
    assert asked == [False] * 14


@pytest.mark.parametrize("options", [{"queries": 0}, {"area": 0.0}, {"area": 1.5}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match="Square: queries="):
        Square(Linf(0.1), **options)
