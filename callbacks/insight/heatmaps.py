"""Where a classifier looks: heatmaps from the gradient at the image, and class activation maps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from attacks import undisturbed
from attacks.adversary import outside_inference
from attacks.objectives import logits_of
from callbacks.synthesis.representation import Representation

PERCENTILES = (2, 98)
"""Beyond them, a gradient is cut off."""

FUNCTIONS: tuple[Callable[[Tensor], Tensor], ...] = (torch.clone, F.relu, F.relu6, F.silu)
"""What may be done, by no module, to a module's output before its means are taken: nothing, or an activation."""


def gradient_heatmap(network: nn.Module, image: Tensor, label: Tensor | None = None) -> tuple[np.ndarray, Tensor]:
    """Heatmaps from the gradient of the loss, as in the localization code of Aggarwal et al. 2020's authors.

    The mean over channels of |d CE(f(x), y)/dx|, cut off at its 2nd and 98th percentile, from 0 to 1, and smoothed: the
    mean of 3 x 3 pixels, with 0 around the image, and a Gaussian of standard deviation 3 pixels. Each image by itself;
    the authors take minimum and maximum over the batch.

    Args:
        network: from images to logits `(B, C)`; it is left as it was found.
        image: `(B, 3, H, W)` in `[0, 1]`.
        label: y, int64 `(B,)`; by default what the network predicts, as in that code.

    Returns:
        float64 `(B, H, W)` from 0 to 1, 0 everywhere where nothing stands out, NaN where the network met it. And the
        logits.
    """
    with undisturbed(network):
        image = outside_inference(image).detach().requires_grad_()
        logits = logits_of(network(image))
        label = logits.detach().argmax(1) if label is None else outside_inference(label)
        # CE is log(1 + exp(m)), so its gradient is that of m but for a factor, which has no part in a heatmap. Where
        # the network is certain, CE itself has none: its softmax is rounded to 1.
        own = F.one_hot(label, logits.shape[1]).bool()
        margin = logits.masked_fill(own, -torch.inf).logsumexp(1) - logits[own]
        (gradient,) = torch.autograd.grad(margin.sum(), image)
    strength = gradient.abs().double().mean(1).cpu().numpy()
    return np.stack([_smoothed(each) for each in strength]), logits.detach()


class ClassActivation:
    """Class activation maps (Zhou et al. 2016): the last feature maps, weighed as the class's logit weighs their means.

    The feature maps are found by looking: those whose means over pixels are the representation, the input of the last
    linear map. Nothing is cut off at 0.

    Args:
        network: from images to logits `(B, C)`; it is left as it was found.
        image: `(B, 3, H, W)`; one of them is shown to the network, to find the feature maps.
        layer: the last linear map, by the name that the network has for it; found where it is not given.

    Raises:
        ValueError: if it has none.
    """

    def __init__(self, network: nn.Module, image: Tensor, layer: str | None = None) -> None:
        self.network = network
        with undisturbed(network), torch.no_grad():
            image = outside_inference(image[:1])
            self.representation = Representation(network, image, layer)
            calls = _calls(network, image)
            wanted, _ = self.representation(image)
        places = [(place, each) for place in range(len(calls)) for each in FUNCTIONS]
        found = [(place, each) for place, each in places if _has_means(calls[place][1], each, wanted)]
        if not found:
            name = self.representation.name
            raise ValueError(f"cam: the last linear map ({name}) does not see the means of feature maps; take gradient")
        last = found[-1][0]
        self.module, self.function = calls[last][0], next(each for place, each in found if place == last)
        self.call = sum(module is self.module for module, _ in calls[:last])
        """Which of the module's calls makes them."""

    def __call__(self, image: Tensor, label: Tensor | None = None) -> tuple[np.ndarray, Tensor]:
        """Heatmaps for classes `(B,)`, by default those that are predicted.

        Returns:
            float64 `(B, H, W)` from 0 to 1, made as large as the image bilinearly. And the logits.
        """
        seen: list[Tensor] = []
        with undisturbed(self.network), torch.no_grad():
            handle = self.module.register_forward_hook(lambda *call: seen.append(call[2].clone()))
            try:
                logits = logits_of(self.network(outside_inference(image)))
            finally:
                handle.remove()
            weight = self.representation.weight[logits.argmax(1) if label is None else label]
            activation = torch.einsum("bk,bkhw->bhw", weight, self.function(seen[self.call]))
            large = F.interpolate(activation[:, None].double(), image.shape[2:], mode="bilinear", align_corners=False)
        return np.stack([_between_0_and_1(each) for each in large[:, 0].cpu().numpy()]), logits


def _calls(network: nn.Module, image: Tensor) -> list[tuple[nn.Module, Any]]:
    """What the network's modules give, in the order in which they are done."""
    calls: list[tuple[nn.Module, Any]] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        calls.append((module, output.clone() if isinstance(output, Tensor) else output))  # others may work in place

    handles = [module.register_forward_hook(note) for module in network.modules()]
    try:
        network(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _has_means(output: Any, function: Callable[[Tensor], Tensor], representation: Tensor) -> bool:
    """Whether an output gives feature maps, of more than a pixel, whose means the representation is."""
    if not isinstance(output, Tensor) or output.ndim != 4 or output[0, 0].numel() < 2:
        return False
    means = function(output).mean((2, 3))
    return means.shape == representation.shape and torch.allclose(means, representation, atol=1e-5, rtol=1e-3)


def _smoothed(strength: np.ndarray) -> np.ndarray:
    clipped = _between_0_and_1(np.clip(strength, *np.percentile(strength, PERCENTILES)))
    blurred = ndimage.gaussian_filter(ndimage.uniform_filter(clipped, 3, mode="constant"), 3)
    return _between_0_and_1(blurred)


def _between_0_and_1(values: np.ndarray) -> np.ndarray:
    """By minimum and maximum; a standardisation before, as the authors have it, would change nothing."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high != low else np.zeros_like(values)
