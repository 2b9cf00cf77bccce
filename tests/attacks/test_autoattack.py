import pytest
import torch
from networks import fcn, seeded, uniform
from one_line import one_line
from torch import nn

from attacks import APGD, FAB, L2, AutoAttack, Linf, Square, TargetedAPGD, counted
from attacks.apgd import wrong_share

PICTURES = uniform(12, 3, 8, 8, seed=6)
SMALL = {"steps": 6, "queries": 12, "targets": 2}
BALLS = [Linf(0.03), L2(0.25)]
every_ball = pytest.mark.parametrize("ball", BALLS, ids=repr)


def classifier(classes=5):
    network = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(), nn.ReLU(), nn.Flatten(), nn.Linear(288, classes))
    ).double()
    for parameter in network.parameters():
        parameter.data *= 3
    return network


def labels(network):
    return network.eval()(PICTURES).argmax(1)


def test_the_four_attacks_of_the_standard_in_its_settings():
    attack = AutoAttack(Linf("8/255"))
    ce, targeted, fab, square = attack.attacks
    assert [type(part) for part in attack.attacks] == [APGD, TargetedAPGD, FAB, Square]
    assert {part.constraint for part in attack.attacks} == {attack.constraint}
    assert (ce.steps, ce.restarts, ce.objective.__name__) == (100, 1, "CrossEntropy")
    assert (targeted.steps, targeted.targets) == (100, 9)
    assert (fab.steps, fab.targets, fab.alpha_max, fab.eta, fab.beta) == (100, 9, 0.1, 1.05, 0.9)
    assert (square.queries, square.area) == (5000, 0.8)
    assert [type(part).__name__ for part in AutoAttack(L2(1), **SMALL).attacks] == [
        "APGD", "TargetedAPGD", "FAB", "Square",
    ]  # fmt: skip


@every_ball
def test_it_is_as_strong_as_the_strongest_of_the_four(ball):
    network = classifier()
    label = labels(network)
    attack = AutoAttack(ball, **SMALL)
    result = attack(network, PICTURES, label)
    each = torch.stack([wrong_share(network(part(network, PICTURES, label)), label) for part in attack.attacks])
    broken = wrong_share(network(result), label)
    assert torch.equal(broken, each.amax(0))
    assert 0 < broken.sum() < 12
    delta = (result - PICTURES).flatten(1)
    size = delta.norm(dim=1) if isinstance(ball, L2) else delta.abs().amax(1)
    assert (size <= ball.eps + 1e-12).all() and result.min() >= 0 and result.max() <= 1


@every_ball
def test_a_batch_equals_its_samples_in_any_order(ball):
    network, attack, seed = classifier(), AutoAttack(ball, **SMALL), torch.arange(12) + 40
    label, order = labels(network), torch.arange(12).flip(0)
    result = attack(network, PICTURES, label, seed)
    singles = [attack(network, PICTURES[[i]], label[[i]], seed[[i]]) for i in range(12)]
    torch.testing.assert_close(result, torch.cat(singles), rtol=0, atol=1e-9)
    shuffled = attack(network, PICTURES[order], label[order], seed[order])
    torch.testing.assert_close(shuffled, result[order], rtol=0, atol=1e-9)


@every_ball
def test_nothing_moves_outside_the_region(ball):
    network, region = classifier(), uniform(12, 1, 8, 8, seed=8) < 0.6
    result = AutoAttack(ball, **SMALL)(network, PICTURES, labels(network), region=region)
    moved = (result != PICTURES).any(1, keepdim=True)
    assert moved.any() and not (moved & ~region).any()


def test_what_is_broken_costs_the_later_attacks_nothing():
    network = classifier()
    label = labels(network)
    with counted(network) as cost:
        result = AutoAttack(Linf(1), **SMALL)(network, PICTURES, label)
    assert (network(result).argmax(1) != label).all()
    assert cost.forwards == 1 + 12 + 12 * 7 + 12, "the class count, the clean images, APGD and the look at what it did"


def test_it_works_in_inference_mode_and_leaves_the_network_alone():
    network = classifier().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        result = AutoAttack(BALLS[0], **SMALL)(network, PICTURES.clone(), torch.zeros(12, dtype=torch.long))
    assert not torch.equal(result, PICTURES)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("classes", [2, 3])
def test_too_few_classes_are_refused_before_any_work(classes):
    network = classifier(classes)
    message = one_line("4 classes", f"has {classes}", "Ensemble of APGD, FAB and Square")
    with counted(network) as cost, pytest.raises(ValueError, match=message):
        AutoAttack(Linf(0.1), **SMALL)(network, PICTURES, torch.zeros(12, dtype=torch.long))
    assert cost.forwards == 1


def test_four_classes_have_three_targets():
    network = classifier(4)
    label = labels(network)
    with counted(network) as cost:
        AutoAttack(Linf(0), steps=2, queries=1)(network, PICTURES, label)
    apgd, fab = 3 * 12, 2 * 2 * 12
    assert cost.forwards == 1 + 12 + (apgd + 12) + (12 + 3 * apgd + 12) + (12 + 3 * fab + 12) + (12 + 12)


def test_label_maps_are_refused():
    with pytest.raises(ValueError, match=one_line("AutoAttack", "(2, 6, 6)", "SEA")):
        AutoAttack(Linf(0.1))(fcn(), uniform(2, 3, 6, 6), torch.zeros(2, 6, 6, dtype=torch.long))


def test_it_prints_its_settings():
    shown = repr(AutoAttack(Linf(0.1), **SMALL))
    assert shown.startswith("AutoAttack(constraint=Linf(eps=0.1), steps=6, queries=12, targets=2")
