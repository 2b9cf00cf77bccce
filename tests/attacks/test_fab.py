import math

import pytest
import torch
from networks import fcn, linear, seeded, uniform
from one_line import one_line
from scipy.optimize import linprog, minimize
from torch import nn

from attacks import FAB, L2, Linf, counted
from attacks.fab import to_plane

IMAGE = 0.4 + 0.2 * uniform(6, 3, 4, 4, seed=1)
PICTURES = uniform(12, 3, 8, 8, seed=6)
BALLS = {Linf: 0.04, L2: 0.3}
every_ball = pytest.mark.parametrize("ball", BALLS, ids=lambda ball: ball.__name__)


def classifier():
    network = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
        )
    ).double()
    for parameter in network.parameters():
        parameter.data *= 3
    return network.eval()


def norm(delta, ball):
    return delta.flatten(1).norm(dim=1, p=2 if ball is L2 else math.inf)


def planes(pixels, count):
    """Points with pixels at the bounds, normals with zeros, and gaps both ways, some out of reach."""
    point = (1.4 * uniform(count, pixels, seed=1) - 0.2).clamp(0, 1)
    normal = torch.randn(count, pixels, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    normal[uniform(count, pixels, seed=3) < 0.2] = 0
    normal[0] = 0
    gap = (uniform(count, seed=4) - 0.5) * 1.2 * normal.abs().sum(1)
    gap[0], gap[1] = 0.3, 0
    return point, normal, gap


def speed(normal, ball):
    return normal.abs() if ball is L2 else torch.ones_like(normal)


def in_reach(point, normal, gap):
    """The lowest and the highest value in the box lie on both sides of 0."""
    towards = torch.where(gap[:, None] * normal > 0, point, 1 - point)
    return (normal.abs() * towards).sum(1) >= gap.abs()


def smallest_step(point, normal, gap, ball):
    """By solvers that know nothing of sorting."""
    low, high = (-point).tolist(), (1 - point).tolist()
    n, w = len(point), normal.numpy()
    if ball is Linf:
        smaller = torch.cat([torch.eye(n), -torch.eye(n)]).numpy()  # +-step - t <= 0
        smaller = [[*row, -1] for row in smaller.tolist()]
        found = linprog(
            [0] * n + [1], smaller, [0] * 2 * n, [[*w, 0]], [-float(gap)], [*zip(low, high, strict=True), (0, None)]
        )
        return found.fun
    plane = {"type": "eq", "fun": lambda step: float(gap) + w @ step, "jac": lambda step: w}
    found = minimize(
        lambda step: step @ step,
        [0] * n,
        jac=lambda step: 2 * step,
        bounds=list(zip(low, high, strict=True)),
        constraints=plane,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return math.sqrt(found.fun)


@every_ball
def test_the_step_to_a_plane_is_the_smallest_in_the_box(ball):
    point, normal, gap = planes(6, 60)
    step = to_plane(point, normal, gap, speed(normal, ball))
    assert (point + step).min() >= 0 and (point + step).max() <= 1
    reach = in_reach(point, normal, gap)
    assert 5 < (~reach).sum() < 30
    torch.testing.assert_close((gap + (normal * step).sum(1))[reach], torch.zeros_like(gap[reach]))
    for i in reach.nonzero().flatten().tolist():
        expected = smallest_step(point[i], normal[i], gap[i], ball)
        assert float(norm(step[[i]], ball)) == pytest.approx(expected, abs=1e-6)


@every_ball
def test_an_exact_step_equals_bisection(ball):
    point, normal, gap = planes(300, 50)
    step = to_plane(point.view(50, 3, 10, 10), normal.view(50, 3, 10, 10), gap, speed(normal, ball).view(50, 3, 10, 10))
    downhill = -gap.sign()[:, None] * normal
    lengths = speed(normal, ball) * downhill.sign()
    low, high = torch.zeros(50, 1).double(), torch.full((50, 1), 1e6).double()
    for _ in range(200):
        middle = (low + high) / 2
        moved = (point + middle * lengths).clamp(0, 1) - point
        far = (downhill * moved).sum(1, keepdim=True) >= gap.abs()[:, None]
        low, high = torch.where(far, low, middle), torch.where(far, middle, high)
    expected = (point + high * lengths).clamp(0, 1) - point
    torch.testing.assert_close(step.flatten(1), expected, rtol=0, atol=1e-9)


@every_ball
def test_out_of_reach_it_goes_to_the_nearest_corner(ball):
    point, normal = torch.tensor([[0.3, 0.6, 0.2]]), torch.tensor([[1.0, -2.0, 0.0]])
    step = to_plane(point, normal, torch.tensor([5.0]), speed(normal, ball))
    torch.testing.assert_close(point + step, torch.tensor([[0.0, 1.0, 0.2]]))


@every_ball
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_the_gradient_does_not_matter(ball, scale):
    point, normal, gap = (value.float() for value in planes(40, 20))
    expected = to_plane(point, normal, gap, speed(normal, ball))
    step = to_plane(point, normal * scale, gap * scale, speed(normal * scale, ball))
    torch.testing.assert_close(step, expected, rtol=0, atol=1e-4)


def distance(network, image, label, ball):
    """From the boundary of a linear network of two classes."""
    weight = network[1].weight.detach()
    logits = network(image).detach()
    gap = logits.gather(1, label[:, None]) - logits.gather(1, 1 - label[:, None])
    return gap.squeeze(1) / (weight[1] - weight[0]).norm(p=2 if ball is L2 else 1)


@every_ball
@pytest.mark.parametrize("alpha_max", [0.1, 0.01])
def test_the_way_to_a_linear_boundary(ball, alpha_max):
    """The first step ends at 1.05 of the distance, the next begins at 0.9 of that, and takes some of the first."""
    network = linear()
    label = network(IMAGE).argmax(1)
    alpha = min((1 - 0.9 * 1.05) / (2 - 0.9 * 1.05), alpha_max)
    second = (1 - alpha) * (0.945 + 1.05 * (1 - 0.945)) + alpha * 1.05
    for sample, far in enumerate(distance(network, IMAGE, label, ball).tolist()):
        image, truth = IMAGE[[sample]], label[[sample]]
        for eps, expected in ((1.06, 1.05), (1.01, second), (0.999, 0.0)):
            result = FAB(ball(eps * far), steps=30, alpha_max=alpha_max)(network, image, truth)
            assert float(norm(result - image, ball)) == pytest.approx(expected * far)
            assert bool(network(result).argmax(1) != truth) == (eps > 1)


@every_ball
def test_what_counts_lies_in_the_ball_and_is_wrong_and_all_else_is_clean(ball):
    network = classifier()
    label = network(PICTURES).argmax(1)
    label[0] = (label[0] + 1) % 5
    image = PICTURES.float()
    result = FAB(ball(BALLS[ball]), steps=20)(network.float(), image, label)
    moved = (result != image).flatten(1).any(1)
    assert not moved[0], "is wrong to begin with"
    assert 2 < moved.sum() < 11
    assert torch.equal(network(result).argmax(1) != label, moved | (torch.arange(12) == 0))
    assert (norm(result - image, ball) <= BALLS[ball]).all()
    assert result.min() >= 0 and result.max() <= 1 and result.dtype == torch.float32


@every_ball
def test_a_batch_equals_its_samples_in_any_order(ball):
    network, attack = classifier(), FAB(ball(BALLS[ball]), steps=20)
    label, order = network(PICTURES).argmax(1), torch.arange(12).flip(0)
    result = attack(network, PICTURES, label)
    singles = [attack(network, PICTURES[[i]], label[[i]]) for i in range(12)]
    torch.testing.assert_close(result, torch.cat(singles), rtol=0, atol=1e-9)
    torch.testing.assert_close(attack(network, PICTURES[order], label[order]), result[order], rtol=0, atol=1e-9)


@every_ball
def test_nothing_moves_outside_the_region(ball):
    network = classifier()
    label, region = network(PICTURES).argmax(1), uniform(12, 1, 8, 8, seed=8) < 0.7
    result = FAB(ball(2 * BALLS[ball]), steps=20)(network, PICTURES, label, region=region)
    moved = (result != PICTURES).any(1, keepdim=True)
    assert moved.any() and not (moved & ~region).any()


class Plateau(nn.Module):
    """The class next in line has a logit that no pixel moves; the one after it is reached easily."""

    def forward(self, image):
        bright = image.flatten(1).mean(1)
        return torch.stack([torch.ones_like(bright), 0.9 + 0 * bright, 50 * (bright - 0.5) + 0.5], 1)


def test_targets_are_tried_in_the_order_of_their_logits():
    image, label = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, dtype=torch.long)
    assert torch.equal(FAB(Linf(0.1), steps=5, targets=1)(Plateau(), image, label), image)
    assert Plateau()(FAB(Linf(0.1), steps=5, targets=2)(Plateau(), image, label)).argmax(1) == 2


def test_what_is_found_costs_no_more():
    network = linear(3)
    label = network(IMAGE).argmax(1)
    with counted(network) as cost:
        FAB(Linf(1), steps=50)(network, IMAGE, label)
    assert cost.forwards == 6 + 2 * 6 and cost.backwards == 6, "the first step towards the first target"
    with counted(network) as cost:
        FAB(Linf(0), steps=5, targets=9)(network, IMAGE, label)
    assert cost.forwards == 6 + 2 * 5 * 2 * 6 and cost.backwards == 2 * 5 * 6, "three classes have two targets"


def test_label_maps_are_refused():
    with pytest.raises(ValueError, match=one_line("FAB", "(2, 6, 6)", "SEA")):
        FAB(Linf(0.1))(fcn(), uniform(2, 3, 6, 6), torch.zeros(2, 6, 6, dtype=torch.long))


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"targets": 0}, {"alpha_max": 1.5}, {"eta": 0.9}, {"beta": 1.0}, {"beta": 0.0}], ids=str
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=one_line("FAB", "=".join(map(str, *options.items())))):
        FAB(Linf(0.1), **options)
