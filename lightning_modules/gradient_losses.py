"""Losses on the input gradient: robustness, and gradients that show something, without an attack.

Each is the cross-entropy and `weight` times a penalty on the gradient to the image that the network is trained on; to
lower it takes a backward through the backward.
"""

import math
from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from attacks.exemplars import Exemplars, Towards
from attacks.objectives import cross_entropy, logits_of, valid_mean, valid_pixels
from lightning_modules.losses import Loss


class GradientLoss(Loss):
    """The mean cross-entropy plus `weight` times a penalty on the gradient to the image, `batch["image"]`.

    That is the attacked image where there is a training attack, and for the share of the samples that its `fraction`
    leaves alone the clean one. All of it is computed in float32, also in a run of mixed precision: 16 bits do not hold
    such gradients. In batch norm the samples of a batch are coupled, as in any training.

    Args:
        weight: of the penalty.
        aux_weight: weight of the cross-entropy of an auxiliary head, where there is one.

    Raises:
        ValueError: on a weight below 0.
    """

    def __init__(self, weight: float, aux_weight: float = 0.5) -> None:
        for name, value in (("weight", weight), ("aux_weight", aux_weight)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{type(self).__name__}: {name}={value} must be 0 or more")
        self.weight, self.aux_weight = weight, aux_weight
        self.parts: dict[str, Tensor] = {}
        """Means over the last batch, to be logged: `cross_entropy` and `penalty`."""

    @abstractmethod
    def penalty(self, network: nn.Module, image: Tensor, logits: Tensor, batch: dict[str, Any]) -> Tensor:
        """One value per sample, `(B,)`, from `image`, which has a gradient, and its logits."""

    def __call__(self, network: nn.Module, batch: dict[str, Any]) -> Tensor:
        image = batch["image"].detach().requires_grad_()
        # Fused attention has no second derivative.
        with torch.autocast(image.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
            output = network(image)
            logits = logits_of(output)
            loss = cross_entropy(logits, batch["label"])
            if isinstance(output, dict) and output.get("aux") is not None:
                loss = loss + self.aux_weight * cross_entropy(output["aux"], batch["label"])
            penalty = self.penalty(network, image, logits, batch)
        self.parts = {"cross_entropy": loss.detach().mean(), "penalty": penalty.detach().mean()}
        return loss + self.weight * penalty


class GradientAlignment(GradientLoss):
    """Makes the gradient point where the image would have to go to become another class (Ganz et al. 2023, PAG).

    The penalty is the mean over some other classes t of 1 - cos(-d CE(f(x), t) / dx, r - x), r being a real image of t.
    No attack is needed. For label maps (ours): one of the image's classes is to become t, CE is the mean over its
    pixels, and r is a cut-out of t in the middle of them, amid its mean colour; beside them r - x is 0.

    Args:
        weight: of the penalty; Ganz et al. take 15 for a ResNet-18.
        targets: how many classes t an image, by lot; each takes a backward of its own. Ganz et al. take all.
        towards: which r: the `nearest` of the exemplars to x, their `mean`, or one at `random`.
        per_class: how many exemplars of each class, of the training set; they are read before the first step, and kept
            in memory in 8 bits: 20 of each of ImageNet's classes take 4 GB.
        aux_weight: weight of the cross-entropy of an auxiliary head, where there is one.

    Raises:
        ValueError: on a weight below 0, or a number below 1.
    """

    def __init__(
        self,
        weight: float = 5.0,
        targets: int = 1,
        towards: Towards = "nearest",
        per_class: int = 20,
        aux_weight: float = 0.5,
    ) -> None:
        super().__init__(weight, aux_weight)
        for name, value in (("targets", targets), ("per_class", per_class)):
            if value < 1:
                raise ValueError(f"GradientAlignment: {name}={value} must be 1 or more")
        self.targets, self.towards, self.per_class = targets, towards, per_class
        self.exemplars: Exemplars | None = None

    def learn(self, datamodule: Any) -> None:
        """Read the exemplars, unless that was done.

        Raises:
            MisconfigurationException: if the data cannot give any.
        """
        if self.exemplars is not None:
            return
        if not hasattr(datamodule, "plain_training_set"):
            raise MisconfigurationException(
                "the loss GradientAlignment compares with training images: use a DataModule with plain_training_set(), "
                "or set `exemplars`"
            )
        try:
            self.exemplars = Exemplars(datamodule.plain_training_set(), len(datamodule.classes), self.per_class)
        except ValueError as error:
            raise MisconfigurationException(f"the loss GradientAlignment: {error}") from error

    def penalty(self, network: nn.Module, image: Tensor, logits: Tensor, batch: dict[str, Any]) -> Tensor:
        if self.exemplars is None:
            raise MisconfigurationException("the loss GradientAlignment has no exemplars: call learn(datamodule) first")
        exemplars, total = self.exemplars.to(image.device), logits.new_zeros(len(image))
        for _ in range(self.targets):
            aim = exemplars.aim(image.detach(), batch["label"], torch.rand(len(image), 3), self.towards)
            gradient = input_gradient(-cross_entropy(logits, aim.label), image)
            total = total + torch.where(aim.known, 1 - cosine(gradient, aim.direction), 0)
        return total / self.targets


class GradientNorm(GradientLoss):
    """Keeps the gradient of the loss small: the penalty is ||d CE / dx||^2 (Ross & Doshi-Velez 2018).

    CE is each sample's own, so that neither the batch's size nor its neighbours change its penalty. With a `step`, the
    squared slope of the loss along its gradient takes its place, ((CE(x + h v) - CE(x)) / h)^2 with v = g / ||g||
    (Finlay & Oberman 2019): one more forward instead of the backward through the backward, for any operator.

    Args:
        weight: of the penalty.
        step: h, the length of the step in pixel units (Euclidean; the authors': 0.01); null for the exact norm.
        aux_weight: weight of the cross-entropy of an auxiliary head, where there is one.

    Raises:
        ValueError: on a weight below 0, or a step that is not above 0.
    """

    def __init__(self, weight: float = 1.0, step: float | None = None, aux_weight: float = 0.5) -> None:
        super().__init__(weight, aux_weight)
        if step is not None and not 0 < step < math.inf:
            raise ValueError(f"GradientNorm: step={step} must be above 0, or null for the exact norm")
        self.step = step

    def penalty(self, network: nn.Module, image: Tensor, logits: Tensor, batch: dict[str, Any]) -> Tensor:
        value = cross_entropy(logits, batch["label"])
        if self.step is None:
            return input_gradient(value, image).flatten(1).square().sum(1)
        direction = F.normalize(input_gradient(value, image, graph=False).flatten(1)).view_as(image)
        beyond = logits_of(network(image.detach() + self.step * direction))
        return ((cross_entropy(beyond, batch["label"]) - value) / self.step).square()


class SaliencyAlignment(GradientLoss):
    """Makes the gradient of the right class look like the image, that of the runner-up not (Singh et al. 2020, ART).

    With g+ = d logit_y / dx, g- = d max over other logits / dx, and each of g+, g- and x as the mean of |.| over its
    channels, the penalty is softplus((1 - cos(x, g+)) - (1 - cos(x, g-))). Of label maps the logits are means over
    valid pixels. Needs no images but the batch's. The authors attack this very loss in training, and take softplus for
    ReLU; here a training attack is `attack.train`, and the network is as it is.

    Args:
        weight: of the penalty (the authors': 0.5).
        aux_weight: weight of the cross-entropy of an auxiliary head, where there is one.

    Raises:
        ValueError: on a weight below 0.
    """

    def __init__(self, weight: float = 0.5, aux_weight: float = 0.5) -> None:
        super().__init__(weight, aux_weight)

    def penalty(self, network: nn.Module, image: Tensor, logits: Tensor, batch: dict[str, Any]) -> Tensor:
        label = batch["label"]
        right = torch.where(valid_pixels(label), label, 0).unsqueeze(1)
        own = logits.gather(1, right).squeeze(1)
        other = logits.scatter(1, right, -math.inf).amax(1)
        seen = image.detach().abs().mean(1)
        likeness = [
            cosine(seen, input_gradient(valid_mean(score, label), image).abs().mean(1)) for score in (own, other)
        ]
        known = valid_pixels(label).view(len(label), -1).any(1)
        return torch.where(known, F.softplus(likeness[1] - likeness[0]), 0)


def input_gradient(values: Tensor, image: Tensor, graph: bool = True) -> Tensor:
    """The gradient of each sample's value `(B,)` to its image, by default one that can be derived itself."""
    (gradient,) = torch.autograd.grad(values.sum(), image, create_graph=graph, retain_graph=True)
    return gradient


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """The cosine of the angle between each sample's values, `(B,)`; 0 where either is 0."""
    return F.cosine_similarity(_scaled(one), _scaled(other))


def _scaled(values: Tensor) -> Tensor:
    """Flat, and at most 1: the squares of gradients that are means over many pixels would vanish."""
    flat = values.flatten(1)
    return flat / flat.detach().abs().amax(1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
