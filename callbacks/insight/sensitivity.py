"""Sensitivity maps: how much what a network says depends on each pixel and channel of an image.

Functions of a network in eval mode, images and labels, to maps `(B, 3, H, W)` in logits (or nats) per pixel unit. The
caller owns the network's mode: see `attacks.adversary.undisturbed`. A label map's void pixels, 255, count in nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from attacks.objectives import cross_entropy, logits_of, valid_mean, valid_pixels
from attacks.seeds import normal
from callbacks.insight.guided import guided_gradient

Score = Callable[[Tensor, Tensor], Tensor]
"""One value per sample, `(B,)`, from logits and labels."""


def logit(logits: Tensor, label: Tensor) -> Tensor:
    """Each sample's mean, over its valid pixels, of the logits of its labels, `(B,)`; 0 where all is void.

    Args:
        logits: `(B, C)` or `(B, C, H, W)`.
        label: int64, `(B,)` or `(B, H, W)` with void pixels 255.
    """
    index = torch.where(valid_pixels(label), label, 0).unsqueeze(1)
    return valid_mean(logits.gather(1, index).squeeze(1), label)


def gradient(network: nn.Module, image: Tensor, label: Tensor, score: Score) -> Tensor:
    """The gradient of a score to each image."""
    image = image.detach().requires_grad_()
    (found,) = torch.autograd.grad(score(logits_of(network(image)), label).sum(), image)
    return found


def vanilla(network: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """The gradient of the label's logit (Simonyan et al. 2014)."""
    return gradient(network, image, label, logit)


def loss(network: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """The gradient of the cross-entropy (Tsipras et al. 2019)."""
    return gradient(network, image, label, cross_entropy)


def guided(network: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """The gradient of the label's logit, of which every ReLU passes only what is above 0 (Springenberg et al. 2015).

    Raises:
        ValueError: if the network has no ReLU.
    """
    image = image.detach().requires_grad_()
    return guided_gradient(logit(logits_of(network(image)), label).sum(), image)


def smoothgrad(
    network: nn.Module,
    image: Tensor,
    label: Tensor,
    seed: Tensor,
    points: int = 50,
    sigma: float = 0.2,
    chunk: int = 32,
) -> Tensor:
    """The mean of `vanilla` over an image with Gaussian noise (Smilkov et al. 2017).

    The noise's standard deviation is `sigma` times the range, maximum - minimum, of what the network's normaliser makes
    of the image, and it is added there: so in a channel's pixel units it is `sigma * range * std`. Without a normaliser
    it is `sigma` times the range of the pixels. The pixels are not cut off at 0 and 1.

    Args:
        seed: int64 `(B,)`; a sample's noise is a function of it.
        points: n, how many noises.
        chunk: images at a time, at most; but a batch is never split.
    """
    mean, std = normaliser(network) or (torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    normalised = ((image - mean.to(image)) / std.to(image)).flatten(1)
    deviation = sigma * (normalised.amax(1) - normalised.amin(1)).view(-1, 1, 1, 1) * std.to(image)

    def noisy(point: int) -> Tensor:
        return image + deviation * normal(image, seed, point)

    return _mean(network, noisy, label, points, chunk)


def integrated(
    network: nn.Module,
    image: Tensor,
    label: Tensor,
    points: int = 50,
    chunk: int = 32,
    times_difference: bool = False,
) -> Tensor:
    """The mean of `vanilla` on the way from grey to the image (Sundararajan et al. 2017).

    At grey + n/N (image - grey) for n from 0 to N - 1; grey is the mean of the network's normaliser, or 0.5.

    Args:
        points: N, how many points of the way.
        chunk: images at a time, at most; but a batch is never split.
        times_difference: times (image - grey), so that a map's sum is nearly what the logit gains on the way, as in
            Sundararajan et al.; the paper's maps are the mean gradient alone.
    """
    known = normaliser(network)
    grey = (torch.full((3, 1, 1), 0.5) if known is None else known[0]).to(image)
    found = _mean(network, lambda point: grey + (image - grey) * (point / points), label, points, chunk)
    return found * (image - grey) if times_difference else found


def normaliser(network: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The mean and the standard deviation that a network normalises pixels by, `(3, 1, 1)` each; None if not known.

    They are the buffers `mean` and `std`, of 3 values each, of a module in it.
    """
    for module in network.modules():
        buffers = dict(module.named_buffers(recurse=False))
        if "mean" in buffers and "std" in buffers and buffers["mean"].numel() == buffers["std"].numel() == 3:
            return buffers["mean"].detach().view(3, 1, 1), buffers["std"].detach().view(3, 1, 1)
    return None


def _mean(network: nn.Module, images: Callable[[int], Tensor], label: Tensor, points: int, chunk: int) -> Tensor:
    """The mean of `vanilla` over images that belong to points 0, 1, ...; some points at a time."""
    together = max(1, chunk // len(label))
    total: Tensor | None = None
    for begin in range(0, points, together):
        some = range(begin, min(begin + together, points))
        batch = torch.cat([images(point) for point in some])
        found = vanilla(network, batch, label.repeat(len(some), *[1] * (label.ndim - 1)))
        found = found.view(len(some), len(label), *found.shape[1:]).sum(0)
        total = found if total is None else total + found
    assert total is not None
    return total / points
