"""FGSM, PGD, APGD and FAB against torchattacks and foolbox: the same network and start must give the same image."""

import pytest
import torch
from networks import seeded, uniform
from torch import nn

from attacks import APGD, FAB, FGSM, L2, PGD, Box, Linf
from attacks.objectives import cross_entropy
from attacks.seeds import mix

HOW = "not installed; `make peers` installs it and runs these tests"
torchattacks = pytest.importorskip("torchattacks", reason=HOW)
foolbox = pytest.importorskip("foolbox", reason=HOW + " (it also wants git)", exc_type=ImportError)
eagerpy = pytest.importorskip("eagerpy", reason=HOW)

IMAGE = uniform(32, 3, 8, 8, seed=6)
SEED = torch.arange(32) + 5
BALLS = {"Linf": Linf(0.03), "L2": L2(0.3)}
both_balls = pytest.mark.parametrize("norm", BALLS)


def classifier():
    """A small classifier of 8 x 8 pixels that bends; float64, in eval mode."""
    network = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
        )
    ).double()
    for parameter in network.parameters():
        parameter.data *= 3
    return network.eval()


@pytest.fixture(autouse=True)
def double():
    """torchattacks makes tensors of its own of the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_same(result, expected):
    assert (result - IMAGE).abs().amax() > 0.02
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-10)


def by_foolbox(attack, network, label, eps):
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    return attack.run(model, IMAGE, foolbox.criteria.Misclassification(label), epsilon=eps)


def test_fgsm():
    network = classifier()
    label = network(IMAGE).argmax(1)
    result = FGSM(Linf(0.03))(network, IMAGE, label)
    assert_same(result, torchattacks.FGSM(network, eps=0.03)(IMAGE, label))
    assert_same(result, by_foolbox(foolbox.attacks.LinfFastGradientAttack(), network, label, 0.03))
    result = FGSM(L2(0.3))(network, IMAGE, label)
    assert_same(result, by_foolbox(foolbox.attacks.L2FastGradientAttack(), network, label, 0.3))


@both_balls
@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_of_foolbox(norm, random_start):
    network, ball = classifier(), BALLS[norm]
    label = network(IMAGE).argmax(1)
    peer = getattr(foolbox.attacks, f"{norm}ProjectedGradientDescentAttack")(
        abs_stepsize=ball.eps / 4, steps=10, random_start=random_start
    )
    start = (ball & Box()).random_start(IMAGE, mix(SEED, 0))
    peer.get_random_start = lambda x0, epsilon: eagerpy.astensor(start)
    result = PGD(ball, steps=10, step_size=ball.eps / 4, random_start=random_start)(network, IMAGE, label, SEED)
    assert_same(result, by_foolbox(peer, network, label, ball.eps))


@both_balls
@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_of_torchattacks(norm, random_start, monkeypatch):
    network, ball = classifier(), BALLS[norm]
    label = network(IMAGE).argmax(1)
    result = PGD(ball, steps=10, step_size=ball.eps / 4, random_start=random_start)(network, IMAGE, label, SEED)
    delta = (ball & Box()).random_start(IMAGE, mix(SEED, 0)) - IMAGE
    make = torchattacks.PGD if norm == "Linf" else torchattacks.PGDL2
    peer = make(network, eps=ball.eps, alpha=ball.eps / 4, steps=10, random_start=random_start)
    size = delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1) / ball.eps
    with monkeypatch.context() as patch:  # what it draws: for L2 a direction and a radius
        patch.setattr(torch.Tensor, "normal_", lambda tensor, *_: tensor.copy_(delta))
        patch.setattr(torch.Tensor, "uniform_", lambda tensor, *_: tensor.copy_(delta if norm == "Linf" else size))
        expected = peer(IMAGE, label)
    if norm == "L2":  # it adds 1e-10 to the norm of a gradient
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
    else:
        assert_same(result, expected)


def started(ball, start):
    """The ball with a start of ours."""
    ball = type(ball)(ball.eps)
    ball.random_start = lambda origin, seed: start
    return ball


def noise(norm):
    return (torch.rand if norm == "Linf" else torch.randn)(IMAGE.shape, generator=torch.Generator().manual_seed(9))


def peers_start(norm, drawn, eps):
    """Where torchattacks starts: on the boundary."""
    if norm == "Linf":
        drawn = 2 * drawn - 1
        return (IMAGE + eps * drawn / drawn.abs().amax((1, 2, 3), keepdim=True)).clamp(0, 1)
    return (IMAGE + eps * drawn / drawn.square().sum((1, 2, 3), keepdim=True).sqrt()).clamp(0, 1)


@both_balls
def test_apgd_of_torchattacks(norm, monkeypatch):
    """Most images are the same; at the first checkpoint it counts one step less than the paper, so some runs part."""
    network, ball = classifier(), BALLS[norm]
    label, drawn = network(IMAGE).argmax(1), noise(norm)
    # It halves a step at three quarters, where the paper says below.
    peer = torchattacks.APGD(network, norm=norm, eps=ball.eps, steps=100, rho=0.7499)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "rand", lambda *_, **__: drawn.clone())
        patch.setattr(torch, "randn", lambda *_, **__: drawn.clone())
        expected, right, _, _ = peer.attack_single_run(IMAGE, label)
    result = APGD(started(ball, peers_start(norm, drawn, ball.eps)), steps=100)(network, IMAGE, label)
    assert torch.equal(network(result).argmax(1) == label, right)
    assert 8 < right.sum() < 24
    # Of what is broken, ours returns a wrong image, and what torchattacks gives here is that of the highest loss.
    assert ((result - expected)[right].abs().amax((1, 2, 3)) < 1e-6).double().mean() > 0.75
    with torch.no_grad():
        gap = cross_entropy(network(result), label) - cross_entropy(network(expected), label)
    assert gap[right].abs().max() < 1e-3


@both_balls
def test_fab_of_torchattacks(norm):
    """It breaks the same images at any radius; what it finds does not depend on one."""
    torch.set_default_dtype(torch.float32)  # the only one that FAB of torchattacks takes
    network, image, ball = classifier().float(), IMAGE.float(), type(BALLS[norm])
    label = network(image).argmax(1)
    peer = torchattacks.FAB(network, norm=norm, steps=20, n_classes=5, multi_targeted=True)
    for eps in (0.2, 0.5, 1, 1.5):
        peer.eps = eps * BALLS[norm].eps
        broken = network(peer(image, label)).argmax(1) != label
        assert torch.equal(network(FAB(ball(peer.eps), steps=20)(network, image, label)).argmax(1) != label, broken)
        assert 2 < broken.sum() < 32
