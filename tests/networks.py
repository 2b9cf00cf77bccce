"""Tiny networks and inputs; the same on every call."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def linear(classes: int = 2, size: int = 4) -> nn.Sequential:
    """Logits `(B, classes)`, linear in the pixels; float64."""
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes))).double()


def per_pixel(classes: int = 3) -> nn.Conv2d:
    """Logits `(B, classes, H, W)`, each a linear function of its own pixel; float64."""
    return seeded(lambda: nn.Conv2d(3, classes, 1)).double()


def fcn(classes: int = 3) -> nn.Sequential:
    """A fully convolutional network with batch norm and dropout; float64, in train mode."""
    network = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(),
            nn.Conv2d(8, classes, 3, padding=1),
        )
    ).double()
    for conv in network[0], network[4]:
        conv.weight.data *= 4  # far from linear
    network[1].running_mean.copy_(uniform(8, seed=1) - 0.5)
    network[1].running_var.copy_(uniform(8, seed=2) + 0.5)
    return network


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Random numbers in `[0, 1)`, such as an image; float64."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ragged_labels(size: int = 6, classes: int = 3) -> Tensor:
    """Four label maps whose void shares are none, a tenth, most and all."""
    label = (uniform(4, size, size, seed=3) * classes).long()
    void = uniform(4, size, size, seed=4) < torch.tensor([0, 0.1, 0.8, 1]).view(4, 1, 1)
    return label.masked_fill(void, 255)


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` makes, its random weights the same on every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()
