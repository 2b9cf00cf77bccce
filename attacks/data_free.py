"""A universal perturbation crafted from the network alone, for classifiers and label maps."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from attacks.constraints import Linf, Number, number
from attacks.seeds import mix, normal
from attacks.universal import Batches, Universal, resized

_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Softplus,
)  # fmt: skip
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

_SATURATED, _SETTLED = 0.5, 1e-5
"""Halved once more than half of the entries are at the bound, and their share changes by less than 0.001 % a step."""


class DataFreeUAP(Universal):
    """GD-UAP (Mopuri et al. 2018): a universal perturbation that excites every layer, crafted without images or labels.

    Raises the sum over layers of log ||activation||_2 (eq. 3 of the paper) for the perturbation by itself, on a plain
    image of the data's mean, by Adam with a projection after each step. Where the perturbation is saturated it is
    halved, to go on. The loader's images say which perturbation is best, and when to stop: after `patience` looks that
    found none that fools more. With label maps that is the share of valid pixels whose prediction changes.

    Layers are the activation modules (`nn.ReLU` and its like), each time they are used, whose output has places, not
    those of fully connected layers. In a network without any, which calls them as functions, they are its norm layers,
    and without those its convolutions, with all below 0 cut off, as ReLU would. Where the paper leaves them open,
    intervals and start are as in its code; the code's logits among the layers of some label map networks are left out.

    Args:
        constraint: the set around each image; in the paper `Linf(10/255)`.
        prior: what is known of the data: `none`; `range`: the perturbation is added to Gaussian noise around `mean`
            whose standard deviation lets 95 % lie in [0, 1]; `data`: it is added to the loader's images.
        steps: most steps; each costs a forward and a backward.
        step_size: Adam's learning rate in pixel units; the paper's .1 of 255.
        interval: steps between two looks at the loader's images; half as many if the perturbation saturates before.
        patience: number of looks without a better share after which it stops.
        mean: the data's mean, per channel, in [0, 1]; networks see an image of it as none. ImageNet's.
        batch_size: number of noise images of the prior `range`.
        seed: of the start, the noise and the order of a loader that shuffles.

    Raises:
        ValueError: on steps, interval, patience or batch_size below 1, or a step_size or mean not in [0, 1].
    """

    constraint: Linf

    def __init__(
        self,
        constraint: Linf,
        prior: Literal["none", "range", "data"] = "none",
        steps: int = 40_000,
        step_size: Number = 0.1 / 255,
        interval: int = 400,
        patience: int = 10,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        batch_size: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(constraint, seed)
        if min(steps, interval, patience, batch_size) < 1:
            raise ValueError(
                f"DataFreeUAP: steps={steps}, interval={interval}, patience={patience} and batch_size={batch_size} "
                "must be 1 or more"
            )
        if prior not in ("none", "range", "data"):
            raise ValueError(f"DataFreeUAP: prior={prior!r} is none of `none`, `range` and `data`")
        if not all(0 <= value <= 1 for value in mean):
            raise ValueError(f"DataFreeUAP: mean={mean} is in pixel units, each between 0 and 1")
        self.step_size = number(step_size, "step_size")
        if not 0 < self.step_size <= 1:
            raise ValueError(f"DataFreeUAP: step_size={step_size} is in pixel units, above 0 and at most 1")
        self.prior, self.steps, self.interval, self.patience = prior, steps, interval, patience
        self.mean, self.batch_size = tuple(mean), batch_size

    def craft(self, network: nn.Module, batches: Batches) -> tuple[Tensor, float]:
        origin = batches.zero()
        current = self.constraint.random_start(origin, torch.tensor([self.seed])).requires_grad_()
        adam = torch.optim.Adam([current], lr=self.step_size)
        backgrounds = self._backgrounds(origin, batches)
        best, most, misses, checked, saturated = current.detach().clone(), -1.0, 0, 0, 0.0
        for step in range(1, self.steps + 1):
            (gradient,) = torch.autograd.grad(-self._excitement(network, current, next(backgrounds)), current)
            with torch.no_grad():
                current.grad = gradient
                adam.step()
                current.copy_(self.constraint.project(current, origin))
                before, saturated = saturated, self._saturation(current)
                since = step - checked
                settled = saturated > _SATURATED and abs(saturated - before) < _SETTLED and since > self.interval // 2
                if since >= self.interval or settled or step == self.steps:
                    checked, share = step, self.share_fooled(network, current, batches)
                    misses = 0 if share > most else misses + 1
                    if share > most:
                        best, most = current.clone(), share
                    if misses == self.patience:
                        break
                if settled:
                    current /= 2
        return best, most

    def _saturation(self, current: Tensor) -> float:
        """The share of entries at the bound."""
        return (current.abs() >= self.constraint.eps * (1 - 1e-6)).double().mean().item()

    def _backgrounds(self, origin: Tensor, batches: Batches) -> Iterator[Tensor]:
        """What the perturbation is added to, step by step."""
        if self.prior == "data":
            while True:
                yield from (image for image, _, _ in batches)
        mean = origin.new_tensor(self.mean).view(1, -1, 1, 1).expand_as(origin)
        deviation = torch.minimum(mean, 1 - mean) / 2  # within [0, 1] up to two of them
        step, numbers = 0, torch.arange(self.batch_size)
        while True:
            if self.prior == "none":
                yield mean
            else:
                wide = mean.expand(self.batch_size, -1, -1, -1).contiguous()
                yield (wide + deviation * normal(wide, mix(self.seed, step, numbers), stream=1)).clamp(0, 1)
            step += 1

    @staticmethod
    def _excitement(network: nn.Module, perturbation: Tensor, background: Tensor) -> Tensor:
        """The objective: the sum over layers of log ||activation||_2, the mean over the batch."""
        with watched(network) as activations:
            network(background + resized(perturbation, background))
        if not activations:
            raise ValueError(
                f"DataFreeUAP: {type(network).__name__} has no activation, norm or convolution modules to excite; "
                "use UAP"
            )
        tiny = torch.finfo(perturbation.dtype).tiny  # a layer that is silent has no gradient, and must not make NaN
        norms = [activation.flatten(1).norm(dim=1).clamp(min=tiny) for activation in activations]
        return torch.stack([norm.log() for norm in norms]).sum(0).mean()


@contextmanager
def watched(network: nn.Module) -> Iterator[list[Tensor]]:
    """A list that the network's forwards inside append their layers' activations to; outside, no hook remains."""
    activations: list[Tensor] = []
    found: list[nn.Module] = []
    for kinds in (_ACTIVATIONS, _NORMS, _CONVOLUTIONS):
        found = [module for module in network.modules() if isinstance(module, kinds)]
        if found:
            break
    rectify = bool(found) and not isinstance(found[0], _ACTIVATIONS)

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.ndim > 2:  # else of a fully connected layer
            # A copy, as what follows may change its input in place.
            activations.append(output.relu() if rectify else output.clone())

    handles = [module.register_forward_hook(hook) for module in found]
    try:
        yield activations
    finally:
        for handle in handles:
            handle.remove()
