"""Gradients of the loss as pictures: Aggarwal et al. 2020, Figure 1."""

from typing import Any

import torch
from torch import Tensor, nn

from attacks import undisturbed
from attacks.adversary import outside_inference
from attacks.objectives import cross_entropy, logits_of
from callbacks.synthesis.base import labels_of
from callbacks.synthesis.callback import PictureCallback
from callbacks.synthesis.painting import Painting

RANGE = 3.0
"""Standard deviations that are shown."""


class GradientPictures(PictureCallback):
    """Shows the gradient of the loss at each image, as it is (Aggarwal et al. 2020, Figure 1).

    Grey is 0; the colours reach from -3 to 3 standard deviations of the image's gradient, and what lies beyond is cut
    off (Tsipras et al. 2019). The gradients of robust networks show the object, those of standard ones noise.

    Args:
        samples: how many validation samples, spread evenly over the set, or their indices.
        every_n_epochs: after the evaluation of every n-th epoch; the last one is always shown.
    """

    task = "gradient_pictures"

    def synthesize(self, network: nn.Module, batch: dict[str, Any]) -> list[Painting]:
        with undisturbed(network):
            image = outside_inference(batch["image"]).detach().requires_grad_()
            label = outside_inference(labels_of(network, {**batch, "image": image}))
            logits = logits_of(network(image))
            (gradient,) = torch.autograd.grad(cross_entropy(logits, label).sum(), image)
        image = image.detach()
        return [Painting("", image, image, gradient_picture(gradient), logits.detach())]

    def check(self, network: nn.Module, batch: dict[str, Any]) -> None:
        self.synthesize(network, batch)


def gradient_picture(gradient: Tensor) -> Tensor:
    """Gradients `(B, 3, H, W)` as images in `[0, 1]`; one that is 0 everywhere is grey."""
    tiny = torch.finfo(gradient.dtype).tiny
    gradient = gradient / gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=tiny)  # or squares may be 0
    deviation = gradient.flatten(1).std(1).clamp(min=tiny).view(-1, 1, 1, 1)
    return (0.5 + gradient / (2 * RANGE * deviation)).clamp(0, 1)
