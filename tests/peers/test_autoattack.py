"""AutoAttack against torchattacks' port of it, on a network trained here: the same robust accuracy."""

import pytest
import torch
import torch.nn.functional as F
from networks import seeded
from torch import nn

from attacks import L2, AutoAttack, Linf, Square

torchattacks = pytest.importorskip(
    "torchattacks", reason="not installed; `make peers` installs it and runs these tests"
)


def task(samples, seed):
    """Pictures of 10 x 10 pixels: one of six textures, faint under noise."""
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(6, 3, 10, 10, generator=generator)
    generator.manual_seed(seed)
    label = torch.randint(6, (samples,), generator=generator)
    image = 0.5 + 0.15 * (texture[label] - 0.5) + 0.15 * torch.randn(samples, 3, 10, 10, generator=generator)
    return image.clamp(0, 1), label


@pytest.fixture(scope="module")
def network():
    network = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(512, 6)
        )
    )
    image, label = task(2000, seed=1)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for step in range(200):
        part = torch.arange(64 * step, 64 * step + 64) % len(image)
        optimizer.zero_grad()
        F.cross_entropy(network(image[part]), label[part]).backward()
        optimizer.step()
    return network.eval()


STEPS, QUERIES = 20, 200
both_balls = pytest.mark.parametrize("ball", [Linf(0.02), L2(0.3)], ids=["Linf", "L2"])


def peer_of(network, ball):
    peer = torchattacks.AutoAttack(network, norm=type(ball).__name__, eps=ball.eps, n_classes=6, seed=0)
    for part in peer._autoattack.attacks:  # it takes 10 steps where the paper has 100
        part.steps, part.n_queries = STEPS, QUERIES
    return peer


@torch.no_grad()
def accuracy(network, image, label):
    return (network(image).argmax(1) == label).double().mean()


@both_balls
def test_the_robust_accuracy_is_that_of_torchattacks(network, ball):
    image, label = task(200, seed=2)
    expected = accuracy(network, peer_of(network, ball)(image, label), label)
    robust = accuracy(network, AutoAttack(ball, STEPS, QUERIES)(network, image, label), label)
    assert accuracy(network, image, label) > 0.9
    assert 0.2 < robust < 0.8
    assert abs(robust - expected) <= 0.01


@both_balls
def test_each_of_the_four_is_as_strong_alone(network, ball):
    """Square, a random search, within five points; the others within one."""
    image, label = task(200, seed=3)
    clean = accuracy(network, image, label)
    for ours, peer in zip(
        AutoAttack(ball, STEPS, QUERIES).attacks, peer_of(network, ball)._autoattack.attacks, strict=True
    ):
        robust, expected = (
            accuracy(network, each, label) for each in (ours(network, image, label), peer(image, label))
        )
        assert robust < clean - 0.1
        assert abs(robust - expected) <= (0.05 if isinstance(ours, Square) else 0.01), f"{ours}: {robust}, {expected}"
