import pytest
import torch
from networks import uniform

from attacks import L2, Box, Intersection, Linf, Region
from attacks.constraints import number

BALLS = [Linf, L2]


def norms(delta):
    return delta.flatten(1).norm(dim=1)


def distance_from_uniform(values):
    """The Kolmogorov-Smirnov statistic."""
    values = values.flatten().sort().values
    return (values - torch.linspace(0, 1, len(values))).abs().max()


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("8/255", 8 / 255),
        ("0.03", 0.03),
        (0.03, 0.03),
        (1, 1.0),
        (" 8/255 ", 8 / 255),
        ("2.5/255", 2.5 / 255),
        ("0", 0),
    ],
)
def test_a_number_is_a_float_or_a_fraction(written, value):
    assert number(written, "eps") == value


@pytest.mark.parametrize(
    "garbage",
    [
        "eight",
        "",
        "8/0",
        "8/255/2",
        "8 255",
        "nan",
        "inf",
        "1e999",
        None,
        [0.1],
        "__import__('os')",
        "8/1e-400",
        "9**9",
    ],
)
def test_garbage_is_no_number(garbage):
    with pytest.raises(ValueError, match=r"^Linf eps: .* is no number; write 0.03 or 8/255$"):
        Linf(garbage)


@pytest.mark.parametrize("endless", ["1e100000000", "1e-100000000", "1e100000000/255", "8/1e99999999", "9" * 1000])
def test_a_number_that_takes_for_ever_to_compute_is_none(endless):
    with pytest.raises(ValueError, match=r"is no number; write 0.03 or 8/255$") as told:
        number(endless, "eps")
    assert len(str(told.value)) < 200


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("eps", [-0.1, "-8/255", float("nan")])
def test_eps_is_a_radius(ball, eps):
    with pytest.raises(ValueError, match="eps"):
        ball(eps)


@pytest.mark.parametrize("eps", [8, "8", 2.5])
def test_eps_of_255_is_refused_with_the_remedy_in_one_line(eps):
    with pytest.raises(ValueError, match=rf"^Linf\(eps={eps}\): .* write {eps}/255 .*$"):
        Linf(eps)


def test_the_radius_of_an_l2_ball_may_exceed_1():
    assert L2("128/255").eps == 128 / 255
    assert L2(5).eps == 5


def test_linf_projects_each_pixel():
    origin, image = uniform(3, 3, 4, 4, seed=1), 3 * uniform(3, 3, 4, 4, seed=2) - 1
    projected = Linf(0.1).project(image, origin)
    assert (projected - origin).abs().max() <= 0.1 + 1e-12
    inside = (image - origin).abs() <= 0.1
    assert inside.any()
    assert torch.equal(projected[inside], image[inside])
    torch.testing.assert_close((projected - origin)[~inside], 0.1 * (image - origin)[~inside].sign())


def test_l2_projection_equals_renorm():
    origin = uniform(4, 3, 4, 4, seed=1)
    delta = (uniform(4, 3, 4, 4, seed=2) - 0.5) * torch.tensor([0, 0.01, 1, 100]).view(4, 1, 1, 1)
    projected = L2(0.5).project(origin + delta, origin) - origin
    torch.testing.assert_close(projected, torch.renorm(delta, 2, 0, 0.5), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(norms(projected), norms(delta).clamp(max=0.5), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("constraint", [Linf(0), L2(0), Linf(0) & Box(), L2(0) & Box()])
def test_a_ball_of_radius_0_is_its_origin(constraint):
    origin = uniform(2, 3, 4, 4).float()
    assert torch.equal(constraint.project(origin + 0.3, origin), origin)
    assert torch.equal(constraint.random_start(origin, torch.arange(2)), origin)


def test_linf_steps_along_the_sign():
    image, gradient = uniform(1, 3, 1, 1), torch.tensor([-1e-30, 0, 5.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(
        Linf(0.1).step(image, gradient, 0.02) - image, torch.tensor([-0.02, 0, 0.02]).double().view(1, 3, 1, 1)
    )


def test_l2_steps_along_the_gradient_of_each_sample():
    image, gradient = uniform(3, 3, 4, 4), uniform(3, 3, 4, 4, seed=1) * torch.tensor([0, 1e-6, 1e6]).view(3, 1, 1, 1)
    moved = L2(1).step(image, gradient, 0.2) - image
    torch.testing.assert_close(norms(moved), torch.tensor([0, 0.2, 0.2]).double())
    torch.testing.assert_close(moved[1:], 0.2 * gradient[1:] / norms(gradient[1:]).view(2, 1, 1, 1))


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("step_size", [1e-3, 1, 1000])
def test_without_a_gradient_there_is_no_step(ball, step_size):
    image = uniform(2, 3, 4, 4).float()
    assert torch.equal(ball(1).step(image, torch.zeros_like(image), step_size), image)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15])
def test_l2_steps_have_their_length_however_small_the_gradient(scale, dtype):
    """A confident network has the smallest gradients; their direction is as good as any."""
    image = torch.zeros(1, 3, 4, 4, dtype=dtype)
    moved = L2(1).step(image, scale * uniform(1, 3, 4, 4).to(dtype), 0.2)
    torch.testing.assert_close(norms(moved), torch.tensor([0.2], dtype=dtype))


@pytest.mark.parametrize("constraint", [Box(), Region(torch.ones(2, 1, 4, 4, dtype=torch.bool))])
def test_without_a_norm_a_step_is_the_plain_gradient_and_the_start_the_origin(constraint):
    image, gradient = uniform(2, 3, 4, 4), uniform(2, 3, 4, 4, seed=1)
    assert torch.equal(constraint.step(image, gradient, 0.2), image + 0.2 * gradient)
    assert torch.equal(constraint.random_start(image, torch.arange(2)), image)


def test_linf_starts_uniformly_in_the_ball():
    origin = uniform(4, 3, 30, 30)
    delta = Linf(0.1).random_start(origin, torch.arange(4)) - origin
    assert distance_from_uniform(delta / 0.2 + 0.5) < 0.02


def test_l2_starts_uniformly_in_the_ball():
    origin = uniform(2000, 3, 1, 1)
    delta = L2(0.5).random_start(origin, torch.arange(2000)) - origin
    radius = norms(delta)
    assert radius.max() <= 0.5 + 1e-12
    assert distance_from_uniform((radius / 0.5) ** 3) < 0.04  # the volume inside a radius grows with its cube
    assert (delta.flatten(1) / radius[:, None]).mean(0).norm() < 0.05


@pytest.mark.parametrize("ball", BALLS)
def test_a_start_depends_on_the_seed_alone(ball):
    origin, seed = uniform(4, 3, 4, 4), torch.tensor([5, -1, 5, 2**40])
    start = ball(0.1).random_start(origin, seed)
    for i in range(4):
        assert torch.equal(ball(0.1).random_start(origin[[i]], seed[[i]]), start[[i]])
    assert not torch.allclose((start - origin)[0], (start - origin)[1], atol=1e-3)
    torch.testing.assert_close((start - origin)[0], (start - origin)[2])


def test_the_box_is_0_to_1():
    image = torch.tensor([-0.5, 0, 0.5, 1, 1.5]).view(1, 1, 1, 5)
    assert Box().project(image, image).flatten().tolist() == [0, 0, 0.5, 1, 1]


def test_nothing_moves_outside_a_region():
    origin, image = uniform(2, 3, 4, 4), uniform(2, 3, 4, 4, seed=1)
    region = uniform(2, 1, 4, 4, seed=2) < 0.5
    inside = region.expand_as(image)
    projected = Region(region).project(image, origin)
    assert torch.equal(projected[inside], image[inside])
    assert torch.equal(projected[~inside], origin[~inside])


@pytest.mark.parametrize("ball", [Linf(0.2), L2(0.7)])
def test_an_intersection_projects_in_order_and_steps_like_its_first(ball):
    origin, image = uniform(2, 3, 4, 4), 3 * uniform(2, 3, 4, 4, seed=1) - 1
    region = Region(uniform(2, 1, 4, 4, seed=2) < 0.5)
    both = ball & Box() & region
    expected = region.project(ball.project(image, origin).clamp(0, 1), origin)
    assert torch.equal(both.project(image, origin), expected)
    assert torch.equal(Intersection(ball, Box(), region).project(image, origin), expected)
    assert torch.equal(both.step(image, origin, 0.1), ball.step(image, origin, 0.1))


@pytest.mark.parametrize("ball", [Linf(0.2), L2(0.7)])
def test_an_intersection_starts_inside_all_its_sets(ball):
    origin = uniform(2, 3, 4, 4).round()
    region = uniform(2, 1, 4, 4, seed=2) < 0.5
    start = (ball & Box() & Region(region)).random_start(origin, torch.arange(2))
    assert start.min() >= 0
    assert start.max() <= 1
    moved = (start != origin).any(1, keepdim=True)
    assert moved.any()
    assert not (moved & ~region).any()
    torch.testing.assert_close(ball.project(start, origin), start)


def test_a_constraint_prints_as_it_is_written():
    assert repr(Linf(0.25)) == "Linf(eps=0.25)"
    assert repr(L2("1/2")) == "L2(eps=0.5)"
