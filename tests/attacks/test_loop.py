import pytest
import torch
from networks import uniform

from attacks import L2, Box, Linf, projected_gradient
from attacks.loop import Best


class Distance:
    """The squared distance to a target; remembers what it was asked."""

    def __init__(self, target, scale=1.0):
        self.target, self.scale = target, scale
        self.images, self.progress, self.values = [], [], []

    def __call__(self, image, progress):
        value = self.scale * (image - self.target).square().flatten(1).sum(1)
        self.images.append(image.detach().clone())
        self.progress.append(progress)
        self.values.append(value.detach())
        return value, image


ORIGIN, TARGET = uniform(3, 3, 4, 4, seed=1), 2 * uniform(3, 3, 4, 4, seed=2) - 0.5


@pytest.mark.parametrize("constraint", [Linf(0.1), L2(0.5), Box()])
def test_descent_finds_the_nearest_point_of_the_set(constraint):
    result = projected_gradient(Distance(TARGET), constraint, ORIGIN, steps=400, step_size=0.01, descend=True)
    torch.testing.assert_close(result, constraint.project(TARGET, ORIGIN), rtol=0, atol=0.02)


def test_ascent_reaches_the_boundary_of_a_convex_problem():
    far_corner = ORIGIN + 0.1 * (ORIGIN - TARGET).sign()
    gaps = [
        (projected_gradient(Distance(TARGET), Linf(0.1), ORIGIN, steps=n, step_size=0.02) - far_corner).abs().max()
        for n in (1, 2, 4, 5, 20)
    ]
    torch.testing.assert_close(torch.stack(gaps), torch.tensor([0.08, 0.06, 0.02, 0, 0]).double())


def test_a_set_without_a_norm_is_walked_along_the_plain_gradient():
    result = projected_gradient(Distance(TARGET), Box(), ORIGIN, steps=1, step_size=0.01)
    torch.testing.assert_close(result, (ORIGIN + 0.01 * 2 * (ORIGIN - TARGET)).clamp(0, 1))


def test_it_starts_where_told_and_stays_around_the_origin():
    objective, start = Distance(TARGET), ORIGIN + 0.05
    result = projected_gradient(objective, Linf(0.1), ORIGIN, steps=9, step_size=0.1, start=start)
    assert torch.equal(objective.images[0], start)
    assert (result - ORIGIN).abs().max() <= 0.1 + 1e-12


def test_arguments_and_result_carry_no_graph():
    origin, start = ORIGIN.clone(), ORIGIN + 0.01
    before = start.clone()
    result = projected_gradient(Distance(TARGET), Linf(0.1), origin, steps=3, step_size=0.1, start=start, best=Best())
    assert torch.equal(origin, ORIGIN)
    assert torch.equal(start, before)
    assert not any(tensor.requires_grad for tensor in (result, origin, start))


@pytest.mark.parametrize(
    ("best", "progress"), [(None, [0, 0.25, 0.5, 0.75]), (Best(), [0, 0.25, 0.5, 0.75, 1])], ids=["last", "best"]
)
def test_each_step_costs_one_evaluation_and_the_best_one_more(best, progress):
    objective = Distance(TARGET)
    projected_gradient(objective, Linf(0.1), ORIGIN, steps=4, step_size=0.1, best=best)
    assert objective.progress == progress


@pytest.mark.parametrize("constraint", [Linf(0.1), L2(0.5)])
@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize("momentum", [0, 0.9])
def test_the_scale_of_the_objective_does_not_matter(constraint, scale, momentum):
    def run(objective):
        return projected_gradient(objective, constraint, ORIGIN, steps=5, step_size=0.03, momentum=momentum)

    torch.testing.assert_close(run(Distance(TARGET, scale)), run(Distance(TARGET)))


@pytest.mark.parametrize("decay", [0, 0.5, 1.0])
def test_momentum_follows_equation_6_of_dong_et_al(decay):
    image, g = ORIGIN, 0
    for _ in range(12):
        gradient = 2 * (image - TARGET)
        g = decay * g - gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
        image = (image + 0.08 * g.sign()).clamp(ORIGIN - 0.3, ORIGIN + 0.3)
    options = {"steps": 12, "step_size": 0.08, "descend": True}
    result = projected_gradient(Distance(TARGET), Linf(0.3), ORIGIN, momentum=decay, **options)
    torch.testing.assert_close(result, image)
    if decay:
        assert not torch.allclose(result, projected_gradient(Distance(TARGET), Linf(0.3), ORIGIN, **options))


@pytest.mark.parametrize("constraint", [Linf(0.1), L2(0.5)])
@pytest.mark.parametrize("momentum", [0, 1.0])
def test_without_a_gradient_nothing_moves(constraint, momentum):
    result = projected_gradient(Distance(ORIGIN), constraint, ORIGIN, steps=3, step_size=0.1, momentum=momentum)
    torch.testing.assert_close(result, ORIGIN, rtol=0, atol=1e-15)


@pytest.mark.parametrize("descend", [False, True])
def test_the_best_iterate_is_the_extreme_of_all_that_were_seen(descend):
    objective, best = Distance(TARGET), Best()
    last = projected_gradient(
        objective, Linf(0.4), ORIGIN, steps=7, step_size=0.37, start=ORIGIN + 0.1, descend=descend, best=best
    )
    values = torch.stack(objective.values)
    extreme = values.amin(0) if descend else values.amax(0)
    final = (best.image - TARGET).square().flatten(1).sum(1)
    torch.testing.assert_close(final, extreme)
    torch.testing.assert_close(best.value, -extreme if descend else extreme)
    assert torch.equal(objective.images[-1], last)


def test_the_best_iterate_may_be_the_start():
    middle, best = torch.full_like(ORIGIN, 0.5), Best()
    start = middle + 0.01
    last = projected_gradient(
        Distance(middle), Box(), start, steps=3, step_size=2.0, descend=True, best=best
    )  # each step overshoots three times as far
    assert not torch.allclose(last, start)
    assert torch.equal(best.image, start)


def test_the_best_iterate_may_be_the_last():
    best = Best()
    last = projected_gradient(Distance(TARGET), Linf(0.4), ORIGIN, steps=3, step_size=0.1, best=best)
    assert torch.equal(best.image, last)


def test_best_chooses_for_each_sample_and_keeps_the_first_of_equals():
    best = Best()
    for fill, values in [(0.0, [1, 1, 1]), (1.0, [2, 1, 0]), (2.0, [0, 1, 2])]:
        best.update(torch.full((3, 1, 1, 1), fill), torch.tensor(values), torch.zeros(3, 2))
    assert best.image.flatten().tolist() == [1, 0, 2]
    assert best.value.tolist() == [2, 1, 2]


def test_no_steps_give_the_start():
    assert torch.equal(projected_gradient(Distance(TARGET), Linf(0.1), ORIGIN, steps=0, step_size=0.1), ORIGIN)
