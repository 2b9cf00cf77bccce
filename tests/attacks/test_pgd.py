from functools import partial
from itertools import pairwise

import pytest
import torch
from networks import fcn, linear, per_pixel, ragged_labels, uniform
from one_line import one_line
from torch import nn

from attacks import (
    APGD,
    DLR,
    FGSM,
    IFGSM,
    L2,
    LBFGS,
    PGD,
    SEA,
    BalancedMaskedCrossEntropy,
    Box,
    CosPGD,
    CosPGDLoss,
    DataFreeUAP,
    GaussianNoise,
    JensenShannon,
    KLDivergence,
    Linf,
    MaskedCrossEntropy,
    SegPGD,
    SegPGDLoss,
    Square,
    Universal,
    projected_gradient,
)
from attacks.objectives import CrossEntropy, cross_entropy

IMAGE = uniform(5, 3, 4, 4, seed=1)
GREY = 0.4 + 0.2 * IMAGE
CLASSES = torch.tensor([0, 1, 1, 0, 1])
PICTURE, LABEL = uniform(4, 3, 6, 6), ragged_labels()
SEED = torch.tensor([7, -3, 2**40, 0])


def universal(ball):
    """A universal perturbation as if fitted, larger than the ball."""
    attack = DataFreeUAP(ball)
    attack.perturbation = uniform(3, 6, 6, seed=9) - 0.5
    return attack


ATTACKS = {
    "FGSM": FGSM(Linf(0.1)),
    "FGSM L2": FGSM(L2(0.5)),
    "IFGSM": IFGSM(Linf(0.1), steps=3),
    "PGD": PGD(Linf("8/255"), steps=3),
    "PGD L2": PGD(L2(0.5), steps=3),
    "best": PGD(Linf(0.1), steps=3, use_best=True),
    "restarts": PGD(Linf(0.1), steps=3, restarts=3),
    "L2 restarts": PGD(L2(0.5), steps=3, restarts=3),
    "momentum": PGD(Linf(0.1), steps=4, momentum=1.0),
    "targeted": PGD(Linf(0.1), steps=3, targeted=True, use_best=True),
    "target_class": PGD(L2(0.5), steps=3, target_class=1),
    "TRADES": PGD(Linf(0.1), steps=3, objective=KLDivergence),
    "SegPGD": SegPGD(Linf(0.1), steps=3),
    "CosPGD": CosPGD(L2(0.5), steps=3),
    "APGD": APGD(Linf(0.1), steps=8),
    "APGD L2": APGD(L2(0.5), steps=8, restarts=2),
    "APGD DLR": APGD(Linf(0.1), steps=8, objective=DLR),
    "SEA MCE": SEA(Linf(0.1), MaskedCrossEntropy, steps=12),
    "SEA MCE-Bal": SEA(L2(0.5), partial(BalancedMaskedCrossEntropy, pixels=[5, 1, 2]), steps=12),
    "Square": Square(Linf(0.1), queries=8),
    "Square L2": Square(L2(0.5), queries=8),
    "SEA JS": SEA(Linf(0.1), JensenShannon, steps=12),
    "SEA CosPGD": SEA(Linf(0.1), CosPGDLoss, steps=12),
    "SEA SegPGD": SEA(L2(0.5), SegPGDLoss, steps=12),
    "universal": universal(Linf(0.1)),
    "universal L2": universal(L2(0.5)),
    "LBFGS": LBFGS(steps=12, searches=5, share=0.8),
    "LBFGS targeted": LBFGS(steps=12, searches=5, share=0.88, target_class=1),
}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
both_balls = pytest.mark.parametrize("ball", [Linf(0.1), L2(0.3)])


def uphill(network, label):
    """The direction of the loss's gradient: away from the label's weights, towards the other class's."""
    weight = network[1].weight.detach()
    return (weight[1 - label] - weight[label]).view(-1, 3, 4, 4)


def furthest(image, direction, ball):
    if isinstance(ball, Linf):
        return image + ball.eps * direction.sign()
    return image + ball.eps * direction / direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


@every_attack
def test_a_batch_may_be_empty(attack):
    assert attack(fcn().eval(), PICTURE[:0], LABEL[:0], SEED[:0]).shape == (0, 3, 6, 6)


def loss(network, image, label):
    with torch.no_grad():
        return cross_entropy(network.eval()(image), label)


# Closed forms: on a linear network the best perturbation is known.


@both_balls
@pytest.mark.parametrize("attack", [FGSM, IFGSM], ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("sign", [1, -1], ids=["untargeted", "targeted"])
def test_fgsm_on_a_linear_network(ball, attack, sign):
    network = linear()
    expected = furthest(GREY, sign * uphill(network, CLASSES), ball)
    torch.testing.assert_close(attack(ball, targeted=sign < 0)(network, GREY, CLASSES), expected)


@both_balls
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("options", [{}, {"restarts": 2}, {"use_best": True}, {"momentum": 1.0}], ids=str)
def test_pgd_on_a_linear_network(ball, random_start, options):
    if "restarts" in options and not random_start:
        with pytest.raises(ValueError, match="restarts=2 would all be the same"):
            PGD(ball, random_start=random_start, **options)
        return
    network = linear()
    attack = PGD(ball, steps=60, step_size=ball.eps / 2, random_start=random_start, **options)
    expected = furthest(GREY, uphill(network, CLASSES), ball)
    torch.testing.assert_close(attack(network, GREY, CLASSES), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("attack", [FGSM, IFGSM, PGD], ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("target", [0, 1])
def test_a_target_class_is_approached_whatever_the_label(attack, target):
    network = linear()
    expected = furthest(GREY, -uphill(network, torch.full_like(CLASSES, target)), Linf(0.1))
    torch.testing.assert_close(attack(Linf(0.1), target_class=target)(network, GREY, CLASSES), expected)


def test_few_small_steps_add_up():
    network = linear()
    result = PGD(Linf(0.1), steps=3, step_size=0.02, random_start=False)(network, GREY, CLASSES)
    torch.testing.assert_close(result, furthest(GREY, uphill(network, CLASSES), Linf(0.06)))


@pytest.mark.parametrize("attack", [FGSM(Linf(0.1)), IFGSM(Linf(0.1)), PGD(Linf(0.1))], ids=repr)
def test_saturated_pixels_move_and_stay_in_the_box(attack):
    network, image = linear(), IMAGE.round()
    direction = uphill(network, CLASSES).sign()
    result = attack(network, image, CLASSES)
    torch.testing.assert_close(result, (image + 0.1 * direction).clamp(0, 1))
    inward = direction == 1 - 2 * image
    assert inward.any()
    assert ((result - image).abs()[inward] > 0.09).all()


def test_more_steps_raise_the_loss_of_a_convex_problem_up_to_the_boundary():
    network = linear()
    losses = [
        loss(network, PGD(Linf(0.1), steps=n, step_size=0.01, random_start=False)(network, GREY, CLASSES), CLASSES)
        for n in (1, 3, 6, 10, 20)
    ]
    assert all((more > less).all() for less, more in pairwise(losses[:4]))
    torch.testing.assert_close(losses[4], losses[3])


def test_a_larger_eps_raises_the_loss_of_a_convex_problem():
    network = linear()
    losses = [loss(network, FGSM(Linf(eps))(network, GREY, CLASSES), CLASSES) for eps in (0, 0.01, 0.1, 0.3)]
    assert all((more > less).all() for less, more in pairwise(losses))


def test_a_stronger_attack_does_more_harm():
    network = fcn()
    attacks = [GaussianNoise(0.1), FGSM(Linf(0.1)), PGD(Linf(0.1), steps=20, use_best=True)]
    losses = [loss(network, PICTURE, LABEL)] + [
        loss(network, attack(network, PICTURE, LABEL), LABEL) for attack in attacks
    ]
    means = [float(value.mean()) for value in losses]
    assert means[0] < means[2] < means[3]
    assert means[1] < means[2]


# Constraints, in pixels.


@pytest.mark.parametrize("ball", [Linf, L2])
@pytest.mark.parametrize(
    "options",
    [{}, {"use_best": True}, {"restarts": 3}, {"step_size": 0.1}, {"momentum": 1.0}, {"target_class": 1}],
    ids=str,
)
def test_eps_0_is_the_identity_exactly(ball, options):
    image = PICTURE.float()
    assert torch.equal(PGD(ball(0), steps=3, **options)(fcn().float(), image, LABEL), image)


@pytest.mark.parametrize("attack", [FGSM, IFGSM], ids=lambda attack: attack.__name__)
def test_eps_0_is_the_identity_without_a_random_start(attack):
    assert torch.equal(attack(Linf(0))(fcn(), PICTURE, LABEL), PICTURE)


@every_attack
@pytest.mark.parametrize("scale", [1, 100], ids=["mild", "steep"])
def test_the_bound_and_the_box_hold(attack, scale):
    network, image = fcn().float(), PICTURE.clone().float()
    network[0].weight.data *= scale
    image[:, :, :3] = image[:, :, :3].round()
    result = attack(network, image, LABEL)
    assert result.min() >= 0
    assert result.max() <= 1
    assert result.dtype == image.dtype
    delta = (result - image).flatten(1)
    if isinstance(attack, LBFGS):  # as little as it takes, and no bound
        return
    size = delta.abs().amax(1) if isinstance(attack.constraint, Linf) else delta.norm(dim=1)
    assert (size <= attack.constraint.eps + 1e-6).all()
    assert (size[:3] > 0.1 * attack.constraint.eps).all()


@every_attack
def test_nothing_moves_outside_the_region(attack):
    region = uniform(4, 1, 6, 6, seed=8) < 0.5
    result = attack(fcn(), PICTURE, LABEL, SEED, region)
    moved = (result != PICTURE).any(1, keepdim=True)
    assert not (moved & ~region).any()
    assert moved[0].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_does_not_lose_the_gradient_of_a_large_label_map(dtype):
    network, image = per_pixel().float(), torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    network.weight.data *= 8
    label = network(image).argmax(1)  # confident where it is right: the gradient of a mean over 512 x 512 is tiny
    with torch.autocast("cpu", dtype):
        result = FGSM(Linf(0.1))(network, image, label)
    assert (result == image).float().mean() < 1e-3


@pytest.mark.parametrize("labels", ["of images", "of one pixel", "of every pixel"])
@pytest.mark.parametrize("attack", [FGSM(Linf(0.1)), FGSM(L2(0.5))], ids=["Linf", "L2"])
def test_half_precision_does_not_overflow_where_the_network_is_confidently_wrong(attack, labels):
    network, image = per_pixel().float(), torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    network.weight.data *= 1000 if labels == "of images" else 100
    if labels == "of images":
        network = nn.Sequential(network, nn.AdaptiveMaxPool2d(1), nn.Flatten())
    label = network(image).argmin(1)
    if labels == "of one pixel":
        label.flatten()[1:] = 255
    expected = attack(network, image, label)
    with torch.autocast("cpu", torch.float16):
        result = attack(network, image, label)
    assert result.isfinite().all()
    assert (result != image).sum() >= (expected != image).sum() > 0


# Independence of the samples.


@every_attack
def test_a_batch_equals_its_samples(attack):
    network = fcn()
    result = attack(network, PICTURE, LABEL, SEED)
    singles = [attack(network, PICTURE[[i]], LABEL[[i]], SEED[[i]]) for i in range(4)]
    torch.testing.assert_close(result, torch.cat(singles), rtol=0, atol=1e-9)


@every_attack
def test_the_order_of_the_samples_does_not_matter(attack):
    network, order = fcn(), torch.tensor([2, 0, 3, 1])
    result = attack(network, PICTURE, LABEL, SEED)
    shuffled = attack(network, PICTURE[order], LABEL[order], SEED[order])
    torch.testing.assert_close(shuffled, result[order], rtol=0, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"restarts": 2}], ids=str)
def test_another_seed_gives_another_start(options):
    network = fcn()
    attack = PGD(Linf(0.1), steps=1, step_size=0.01, **options)
    assert not torch.allclose(
        attack(network, PICTURE, LABEL, SEED), attack(network, PICTURE, LABEL, SEED + 1), atol=0.01
    )


def test_each_restart_starts_elsewhere():
    seen = []

    def record(network, image, label):
        def objective(image, progress):
            seen.append(image.detach())
            return image.flatten(1).sum(1), image

        return objective

    PGD(Linf(0.1), steps=1, step_size=0, restarts=3, objective=record)(fcn(), PICTURE, LABEL)
    starts = seen[::2]
    assert len(starts) == 3
    assert not any(torch.allclose(a, b, atol=0.01) for a, b in pairwise(starts))


# Void.


@pytest.mark.parametrize("attack", [FGSM(Linf(0.1)), IFGSM(L2(0.5)), PGD(Linf(0.1), random_start=False)], ids=repr)
def test_void_pixels_do_not_pull(attack):
    """Without neighbours in its view, a void pixel has no gradient."""
    result = attack(per_pixel(), PICTURE, LABEL)
    void = (LABEL == 255).unsqueeze(1).expand_as(result)
    assert torch.equal(result[void], PICTURE[void])
    assert (result[~void] != PICTURE[~void]).all()


@pytest.mark.parametrize("attack", [FGSM(L2(0.5)), PGD(L2(0.5), random_start=False, use_best=True)], ids=repr)
def test_a_void_half_changes_nothing_for_the_other_half(attack):
    network, label = per_pixel(), (3 * uniform(4, 6, 6, seed=2)).long()
    label[:, :, 3:] = 255
    half = attack(network, PICTURE[..., :3], label[..., :3])
    torch.testing.assert_close(attack(network, PICTURE, label)[..., :3], half)


@every_attack
def test_an_all_void_image_stays_at_its_start(attack):
    network, label = fcn(), torch.full_like(LABEL, 255)
    result = attack(network, PICTURE, label, SEED)
    assert result.isfinite().all()
    if isinstance(attack, LBFGS):
        assert torch.equal(result, PICTURE)
    elif isinstance(attack, SEA | Square | Universal):  # have starts of their own
        assert ((result - PICTURE).abs() <= attack.constraint.eps + 1e-12).all()
    elif getattr(attack, "random_start", True):
        start = PGD(attack.constraint, steps=1, step_size=0)(network, PICTURE, label, SEED)
        torch.testing.assert_close(result, start)
    else:
        assert torch.equal(result, PICTURE)


def test_a_target_class_leaves_void_void():
    network = per_pixel()
    result = PGD(Linf(0.1), random_start=False, target_class=2)(network, PICTURE, LABEL)
    void = (LABEL == 255).unsqueeze(1).expand_as(result)
    assert torch.equal(result[void], PICTURE[void])
    everywhere = PGD(Linf(0.1), random_start=False, targeted=True)(network, PICTURE, torch.full_like(LABEL, 2))
    torch.testing.assert_close(result[~void], everywhere[~void])


def test_the_image_label_255_is_a_class():
    network, label = linear(classes=300), torch.full_like(CLASSES, 255)
    result = FGSM(Linf(0.1))(network, GREY, label)
    assert (loss(network, result, label) > loss(network, GREY, label)).all()


# Best iterates and restarts.


@pytest.mark.parametrize("ball", [Linf(0.2), L2(3)])
@pytest.mark.parametrize("options", [{"use_best": True}, {"restarts": 3}], ids=str)
@pytest.mark.parametrize("sign", [1, -1], ids=["untargeted", "targeted"])
def test_the_best_is_never_worse_than_the_start_nor_the_last(ball, options, sign):
    network = fcn()
    settings = {"steps": 6, "step_size": 2 * ball.eps, "targeted": sign < 0}  # steps that overshoot
    start = PGD(ball, steps=1, step_size=0)(network, PICTURE, LABEL, SEED)
    last = PGD(ball, **settings)(network, PICTURE, LABEL, SEED)
    best = PGD(ball, **settings, **options)(network, PICTURE, LABEL, SEED)
    best_loss = sign * loss(network, best, LABEL)
    assert (best_loss >= sign * loss(network, start, LABEL)).all()
    assert (best_loss >= sign * loss(network, last, LABEL)).all()
    assert (best_loss > sign * loss(network, last, LABEL)).any()


def test_more_restarts_never_lower_the_loss():
    network = fcn()
    losses = [
        loss(network, PGD(Linf(0.1), steps=2, restarts=n, use_best=True)(network, PICTURE, LABEL, SEED), LABEL)
        for n in (1, 2, 8)
    ]
    assert (losses[1] >= losses[0]).all()
    assert (losses[2] >= losses[1]).all()
    assert (losses[2] > losses[0]).any()


# Settings.


@pytest.mark.parametrize(
    ("attack", "step_size"),
    [
        (PGD(Linf("8/255")), 2.5 * 8 / 255 / 10),
        (PGD(Linf("8/255"), step_size="2/255"), 2 / 255),
        (PGD(L2(5), steps=2), 6.25),
        (IFGSM(Linf(0.1), steps=5), 0.02),
        (IFGSM(Linf(0.1), steps=5, step_size=0.03), 0.03),
        (FGSM(L2(3)), 3),
    ],
    ids=repr,
)
def test_step_sizes(attack, step_size):
    assert attack.step_size == pytest.approx(step_size)


@pytest.mark.parametrize(("ball", "steps"), [(L2(1), 2), (Linf(0.5), 1), (Linf(1), 2)])
def test_the_default_step_size_is_never_refused(ball, steps):
    assert PGD(ball, steps=steps).step_size == pytest.approx(2.5 * ball.eps / steps)


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: PGD(Linf(8)), ["Linf(eps=8)", "write 8/255"]),
        (lambda: FGSM(Linf("4")), ["Linf(eps=4)", "write 4/255"]),
        (lambda: PGD(Linf("8/255"), step_size=2), ["PGD: step_size=2", "write 2/255"]),
        (lambda: IFGSM(Linf("8/255"), step_size="2"), ["IFGSM: step_size=2", "write 2/255"]),
        (lambda: PGD(Linf(0.1), step_size=-0.1), ["step_size=-0.1"]),
        (lambda: PGD(Linf(0.1), step_size=float("nan")), ["step_size", "nan"]),
        (lambda: PGD(Linf(0.1), step_size="small"), ["step_size: 'small' is no number; write"]),
        (lambda: PGD(Linf(0.1), steps=0), ["PGD", "steps=0"]),
        (lambda: IFGSM(Linf(0.1), steps=0), ["IFGSM", "steps=0"]),
        (lambda: PGD(Linf(0.1), restarts=0), ["PGD", "restarts=0"]),
        (lambda: PGD(Linf(0.1), momentum=float("nan")), ["PGD", "momentum=nan"]),
        (lambda: PGD(Linf(0.1), target_class=-1), ["PGD", "target_class=-1"]),
        (lambda: PGD(Box()), ["step_size has a default for Linf and L2 only"]),
    ],
)
def test_bad_settings_are_refused_in_one_line(build, parts):
    with pytest.raises(ValueError, match=one_line(*parts)):
        build()


class OneLogit:
    """Raises the logit of a class of the user's."""

    def __init__(self, network, image, label):
        self.network = network

    def __call__(self, image, progress):
        logits = self.network(image)
        return logits[:, 1], logits


def test_another_objective_can_be_raised():
    network = linear()
    result = PGD(Linf(0.1), objective=OneLogit)(network, GREY, CLASSES)
    torch.testing.assert_close(result, GREY + 0.1 * network[1].weight[1].detach().sign().view(3, 4, 4))


def test_pgd_is_the_loop_with_its_settings():
    network, objective = fcn().eval(), CrossEntropy(fcn().eval(), PICTURE, LABEL)
    settings = {"steps": 6, "step_size": 0.08, "momentum": 0.7}
    expected = projected_gradient(objective, Linf(0.1) & Box(), PICTURE, **settings)
    assert torch.equal(PGD(Linf(0.1), random_start=False, **settings)(network, PICTURE, LABEL), expected)
    plain = PGD(Linf(0.1), random_start=False, **{**settings, "momentum": 0})
    assert not torch.allclose(plain(network, PICTURE, LABEL), expected)


class Auxiliary(nn.Module):
    """Gives a dict, in eval mode too, as torchvision's segmentation networks do."""

    def __init__(self):
        super().__init__()
        self.main = fcn()

    def forward(self, image):
        return {"out": self.main(image), "aux": self.main(image) * 0}


def test_the_main_logits_of_a_dict_are_attacked():
    attack, network = ATTACKS["PGD"], Auxiliary()
    assert torch.equal(attack(network, PICTURE, LABEL), attack(network.main, PICTURE, LABEL))


def test_the_objective_by_default_is_cross_entropy():
    assert PGD(Linf(0.1)).objective is CrossEntropy
