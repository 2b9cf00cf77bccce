import pytest
import torch
from networks import linear, uniform
from torch import nn

from attacks import CrossEntropy
from callbacks.synthesis.objectives import (
    Activation,
    Away,
    ClippedActivation,
    Inside,
    KeepOutside,
    MatchRepresentation,
    activations,
)
from callbacks.synthesis.representation import Representation

IMAGE = uniform(2, 3, 4, 4)


def identity():
    """A network whose representation is the image."""
    return Representation(linear(), IMAGE)


def pixels():
    """A network whose representation is, pixel by pixel, the image."""
    return Representation(nn.Conv2d(3, 2, 1).double(), IMAGE)


def test_away_is_the_negative():
    objective = CrossEntropy(linear(), IMAGE, torch.tensor([0, 1]))
    assert torch.equal(Away(objective)(IMAGE, 0.0)[0], -objective(IMAGE, 0.0)[0])


def test_a_change_outside_has_its_price_and_one_inside_none():
    hole = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    hole[0] = True
    base = Activation(identity(), 3)
    changed = IMAGE + 0.1
    value, _ = KeepOutside(base, IMAGE, hole, 7.0)(changed, 0.0)
    expected = base(changed, 0.0)[0] + torch.tensor([0.0, 7 * 0.01])
    assert torch.allclose(value, expected)


def test_outside_the_hole_there_is_no_gradient():
    hole = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    hole[:, :, 1:3, 1:3] = True
    image = (IMAGE + 0.1).requires_grad_()
    value, _ = Inside(CrossEntropy(linear(), IMAGE, torch.tensor([0, 1])), IMAGE, hole)(image, 0.0)
    (gradient,) = torch.autograd.grad(value.sum(), image)
    assert (gradient[~hole.expand_as(gradient)] == 0).all() and (gradient[hole.expand_as(gradient)] != 0).all()


def test_an_activation_is_a_unit_of_the_representation_and_of_pixels_its_mean_in_the_region():
    assert torch.equal(Activation(identity(), 5, weight=2)(IMAGE, 0.0)[0], -2 * IMAGE.flatten(1)[:, 5])
    region = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    region[..., :2] = True
    found, _ = Activation(pixels(), 1, region)(IMAGE, 0.0)
    assert torch.allclose(found, -IMAGE[:, 1, :, :2].mean((1, 2)))


def test_a_clipped_activation_grows_until_it_is_the_highest():
    image = IMAGE.clone()
    image[0, 0, 0, 1], image[1, 0, 0, 1] = 0.1, 2.0
    image.requires_grad_()
    value, _ = ClippedActivation(identity(), 1)(image, 0.0)
    assert value.tolist() == [-0.1, 0.0]
    (gradient,) = torch.autograd.grad(value.sum(), image)
    assert gradient[0].flatten().nonzero().flatten().tolist() == [1] and not gradient[1].any()


def test_the_distance_of_representations_is_relative_and_of_pixels_that_of_the_region():
    target = IMAGE.flatten(1) * 1.5
    assert torch.allclose(
        MatchRepresentation(identity(), target)(IMAGE, 0.0)[0], torch.full((2,), 1 / 3, dtype=torch.float64)
    )
    region = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    region[..., :2] = True
    target = IMAGE.clone()
    target[..., 2:] = 9
    target[..., :2] *= 2
    found, _ = MatchRepresentation(pixels(), target, region)(IMAGE, 0.0)
    assert torch.allclose(found, torch.full((2,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("objective", [Activation, ClippedActivation])
def test_each_sample_may_have_a_unit_of_its_own(objective):
    image = IMAGE + torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    both = objective(identity(), torch.tensor([5, 40]))(image, 0.0)[0]
    assert both.tolist() == [objective(identity(), unit)(image, 0.0)[0][i].item() for i, unit in enumerate((5, 40))]
    assert objective(identity(), torch.tensor([5, 40])).activation(image).tolist() == [
        image[0].flatten()[5].item(),
        image[1].flatten()[40].item(),
    ]


def test_activations_are_those_of_the_unit_without_weight_or_penalty():
    hole = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    base = Activation(identity(), 5, weight=7)
    for objective in (base, KeepOutside(base, IMAGE, hole, 2.0), Inside(base, IMAGE, hole)):
        scores = activations(objective, IMAGE, IMAGE + 1)
        assert torch.equal(scores["activation_start"], IMAGE.flatten(1)[:, 5])
        assert torch.equal(scores["activation"], IMAGE.flatten(1)[:, 5] + 1)


def test_where_nothing_counts_there_is_no_distance_and_no_gradient():
    region = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    region[1] = True
    objective = MatchRepresentation(pixels(), IMAGE, region)
    image = (IMAGE + 0.1).requires_grad_()
    (gradient,) = torch.autograd.grad(1e6 * objective(image, 0.0)[0].sum(), image)
    assert gradient.isfinite().all() and not gradient[0].any() and gradient[1].all()
    assert objective.distance(image).isnan().tolist() == [True, False]
