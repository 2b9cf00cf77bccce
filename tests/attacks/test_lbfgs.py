import pytest
import torch
from networks import fcn, linear, per_pixel, ragged_labels, seeded, uniform
from one_line import one_line
from torch import nn

from attacks import LBFGS
from attacks.lbfgs import minimise

GREY = 0.4 + 0.2 * uniform(5, 3, 4, 4, seed=1)
PICTURE, LABEL = uniform(4, 3, 6, 6), ragged_labels()


def size(delta):
    return delta.flatten(1).norm(dim=1)


def boundary(network, label):
    """Where two classes are equal: the normal towards the other class, and the constant."""
    weight, bias = network[1].weight.detach(), network[1].bias.detach()
    return weight[1 - label] - weight[label], bias[1 - label] - bias[label]


def nearest_in_the_box(image, normal, offset):
    """The point of normal * x + offset = 0 in [0, 1]^d nearest to the image: x + t * normal, clipped."""
    low, high = torch.zeros(len(image), 1).double(), torch.full((len(image), 1), 1e4).double()
    flat = image.flatten(1)
    for _ in range(200):
        t = (low + high) / 2
        over = ((flat + t * normal).clamp(0, 1) * normal).sum(1) + offset > 0
        low, high = torch.where(over[:, None], low, t), torch.where(over[:, None], t, high)
    return (flat + high * normal).clamp(0, 1).view_as(image)


# Closed forms.


@pytest.mark.parametrize("saturated", [False, True])
def test_two_linear_classes_are_left_by_the_shortest_way_in_the_box(saturated):
    network, image = linear(), GREY.clone()
    if saturated:
        image[:, :, :2] = image[:, :, :2].round()
    label = network(image).argmax(1)
    normal, offset = boundary(network, label)
    expected = nearest_in_the_box(image, normal, offset)
    assert saturated == ((expected - image).abs() < 1e-12).any()
    result = LBFGS(searches=25)(network, image, label)
    assert (network(result).argmax(1) != label).all()
    assert result.min() >= 0 and result.max() <= 1
    torch.testing.assert_close(size(result - image), size(expected - image), rtol=1e-3, atol=0)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-3)


def test_of_many_linear_classes_the_way_is_close_to_the_shortest():
    network = linear(5)
    logits, weight = network(GREY), network[1].weight.detach()
    for target in range(5):
        label = logits.argmax(1)
        result = LBFGS(target_class=target)(network, GREY, label)
        assert (network(result).argmax(1) == target).all()
        shortest = (logits.amax(1) - logits[:, target]) / (weight[label] - weight[target]).norm(dim=1).clamp(min=1e-9)
        assert (size(result - GREY) >= shortest - 1e-9).all()
        assert (size(result - GREY) <= 1.6 * shortest + 1e-9).all()


def test_it_is_found_from_a_far_too_large_and_a_far_too_small_c():
    network = linear()
    label = network(GREY).argmax(1)
    sizes = [size(LBFGS(searches=25, c=c)(network, GREY, label) - GREY) for c in (1e-4, 1.0, 1e4)]
    torch.testing.assert_close(sizes[0], sizes[1], rtol=1e-3, atol=0)
    torch.testing.assert_close(sizes[2], sizes[1], rtol=1e-3, atol=0)


def test_more_searches_never_find_a_larger_one():
    network = fcn()
    label = network.eval()(PICTURE).argmax(1)
    sizes = [size(LBFGS(searches=n, steps=10, share=0.5)(network, PICTURE, label) - PICTURE) for n in (4, 6, 9)]
    assert (sizes[0] > 0).all()
    assert (sizes[1] <= sizes[0]).all() and (sizes[2] <= sizes[1]).all() and (sizes[2] < sizes[0]).any()


def quadratic(dimension=12, batch=4):
    """Convex quadratics, each its own: curvature matrices and minima, some of them out of the box."""
    root = uniform(batch, dimension, dimension, seed=3) - 0.5
    curvature = root @ root.mT + 0.05 * torch.eye(dimension, dtype=torch.float64)
    return curvature, 3 * uniform(batch, dimension, seed=4) - 1


def test_a_bounded_quadratic_is_minimised():
    curvature, middle = quadratic()
    calls = []

    def function(image, index):
        calls.append(image)
        away = image.flatten(1) - middle[index]
        gradient = torch.einsum("bij,bj->bi", curvature[index], away)
        return (away * gradient).sum(1) / 2, gradient.view_as(image)

    start = uniform(4, 3, 2, 2, seed=5)
    start[:, 0] = start[:, 0].round()  # at the bounds
    bounds = torch.zeros_like(start), torch.ones_like(start)
    result = minimise(function, start, *bounds, steps=60)
    assert all(((image >= 0) & (image <= 1)).all() for image in calls)
    expected, everyone = start, torch.arange(4)
    for _ in range(20000):
        expected = (expected - 0.1 * function(expected, everyone)[1]).clamp(0, 1)  # slowly but surely
    assert ((expected == 0) | (expected == 1)).any() and ((expected > 0) & (expected < 1)).any()
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_it_is_faster_than_steepest_descent():
    """Curvatures from 1 to 1000: what the pairs are kept for."""
    curvature = torch.logspace(0, 3, 12, dtype=torch.float64).expand(2, -1)

    def function(image, index):
        away = image.flatten(1) - 0.5
        return (away * curvature[index] * away).sum(1) / 2, (curvature[index] * away).view_as(image)

    start = uniform(2, 3, 2, 2, seed=6)
    bounds = torch.zeros_like(start), torch.ones_like(start)
    results = [minimise(function, start, *bounds, steps=60, memory=memory) for memory in (1, 20)]
    values = [function(result, torch.arange(2))[0] for result in results]
    assert (values[1] < 1e-12).all() and (values[0] > 1e4 * values[1]).all(), values


# What it may do, and what it is for.


def test_targets_are_reached_and_true_labels_are_left():
    network, label = fcn().eval(), fcn().eval()(PICTURE).argmax(1)
    label[LABEL == 255] = 255
    target = ((label + 1) % 3).masked_fill(label == 255, 255)
    for share in (0.4, 0.7):
        left = network(LBFGS(steps=15, share=share)(network, PICTURE, label)).argmax(1)
        reached = network(LBFGS(steps=15, share=share, targeted=True)(network, PICTURE, target)).argmax(1)
        for i in range(3):
            valid = label[i] != 255
            assert share <= (left[i] != label[i])[valid].double().mean() < 1
            assert share <= (reached[i] == target[i])[valid].double().mean() < 1


def test_a_smaller_share_is_won_with_less():
    network, label = fcn().eval(), fcn().eval()(PICTURE).argmax(1)
    sizes = [size(LBFGS(steps=10, share=share)(network, PICTURE, label) - PICTURE) for share in (0.3, 0.6)]
    assert (sizes[0] < sizes[1]).all() and (sizes[0] > 0).all()


def test_what_is_won_already_stays_as_it_is():
    network, label = linear(3), linear(3)(GREY).argmax(1)
    assert torch.equal(LBFGS()(network, GREY, (label + 1) % 3), GREY)
    assert torch.equal(LBFGS(targeted=True)(network, GREY, label), GREY)


def test_what_cannot_be_won_stays_as_it_is():
    network, label = linear(), torch.zeros(5, dtype=torch.long)
    network[1].bias.data = torch.tensor([1000.0, 0.0]).double()
    assert torch.equal(LBFGS(searches=3)(network, GREY, label), GREY)
    network[1].bias.data[0] = 0
    nowhere = torch.zeros(5, 1, 4, 4, dtype=torch.bool)
    assert torch.equal(LBFGS(searches=3)(network, GREY, network(GREY).argmax(1), region=nowhere), GREY)


def test_void_pixels_neither_pull_nor_count():
    network, label = per_pixel(), per_pixel()(PICTURE).argmax(1)
    label[LABEL == 255] = 255
    result = LBFGS(share=1.0)(network, PICTURE, label)
    void = (label == 255).unsqueeze(1).expand_as(result)
    assert torch.equal(result[void], PICTURE[void])
    assert (network(result).argmax(1) != label)[:3][label[:3] != 255].all()


def test_the_image_label_255_is_a_class():
    network = linear(classes=300)
    label = torch.full((5,), 255)
    result = LBFGS(targeted=True)(network, GREY, label)
    assert (network(result).argmax(1) == 255).all()


def test_images_that_need_different_c_do_not_mix():
    network = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 4))).double()
    network[1].weight.data *= 5
    image = torch.cat([GREY, IMAGES])
    label = network(image).argmax(1)
    attack = LBFGS(steps=15)
    together = attack(network, image, label)
    for i in range(len(image)):
        torch.testing.assert_close(together[i : i + 1], attack(network, image[[i]], label[[i]]), rtol=0, atol=1e-7)
    assert (network(together).argmax(1) != label).all()


IMAGES = uniform(3, 3, 4, 4, seed=9).round()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"steps": 0}, ["LBFGS: steps=0"]),
        ({"searches": 0}, ["searches=0"]),
        ({"memory": 0}, ["memory=0"]),
        ({"c": 0}, ["LBFGS: c=0", "above 0"]),
        ({"c": float("nan")}, ["c=nan"]),
        ({"share": 0}, ["share=0"]),
        ({"share": 1.1}, ["share=1.1"]),
    ],
)
def test_bad_settings_are_refused_in_one_line(options, parts):
    with pytest.raises(ValueError, match=one_line(*parts)):
        LBFGS(**options)
