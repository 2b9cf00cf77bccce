"""A network's representation: what its last linear map sees."""

import difflib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.objectives import logits_of

RELUS = (nn.ReLU, nn.ReLU6)
"""What leaves a unit that is 0 everywhere without a gradient."""


class Representation:
    """The input of a network's last linear map, found by looking: a linear layer, or a convolution of 1 x 1.

    `(B, K)` for a classifier, `(B, K, h, w)` for a segmentation network, whose pixels are classified one by one.
    Called with images `(B, 3, H, W)`, it gives the representation and the logits.

    Args:
        network: in eval mode, from images to logits.
        image: `(B, 3, H, W)`; one of them is shown to the network, to find the layer.
        layer: the layer whose input it is, by the name that the network has for it, such as `model.fc`; found where it
            is not given.
        fake_relu: the gradient passes the ReLU that makes the representation as if it were none, so that a unit that is
            0 everywhere has one, as in the code of Engstrom et al. 2019.

    Raises:
        ValueError: if there is no such layer, or none is found; if no `nn.ReLU` or `nn.ReLU6` makes the representation.
    """

    def __init__(self, network: nn.Module, image: Tensor, layer: str | None = None, fake_relu: bool = False) -> None:
        self.network = network
        self._relu: tuple[nn.Module, int] | None = None
        self.name = _found(network, image[:1]) if layer is None else named(network, layer)
        self.layer = network.get_submodule(self.name)
        with torch.no_grad():
            shape = self(image[:1])[0].shape
        if len(shape) not in (2, 4):
            raise ValueError(f"layer={self.name}: sees {tuple(shape)}, no (B, K) or (B, K, h, w); name another layer")
        self.units = shape[1]
        if fake_relu:
            self._relu = self._last_relu(image[:1])

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []
        handles = [self.layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))]
        handles += _passing(*self._relu) if self._relu else []
        try:
            logits = logits_of(self.network(image))
        finally:
            for handle in handles:
                handle.remove()
        if not seen:
            raise ValueError(f"layer={self.name}: the network does not use it; name another layer")
        return seen[-1], logits

    def check_unit(self, unit: int, setting: str) -> None:
        """Raises ValueError if the representation has no such unit."""
        if not 0 <= unit < self.units:
            raise ValueError(f"{setting}={unit}: the representation ({self.name}) has {self.units} units, from 0")

    @property
    def weight(self) -> Tensor:
        """The linear map to the logits, `(C, K)`; raises ValueError where the layer is none."""
        if not _is_linear_map(self.layer):
            raise ValueError(f"layer={self.name}: is no linear map of each unit; name a linear layer")
        return self.layer.weight.detach().flatten(1)  # type: ignore[operator]

    def _last_relu(self, image: Tensor) -> tuple[nn.Module, int]:
        """The ReLU whose output the representation is, or the mean of that over pixels, and which of its calls."""
        calls: list[tuple[nn.Module, Tensor]] = []
        handles = [
            module.register_forward_hook(lambda relu, _, output: calls.append((relu, output.clone())))
            for module in self.network.modules()
            if isinstance(module, RELUS)
        ]
        try:
            with torch.no_grad():
                found, _ = self(image)
        finally:
            for handle in handles:
                handle.remove()
        for place in reversed(range(len(calls))):
            relu, output = calls[place]
            made = output.mean((2, 3)) if output.ndim > found.ndim else output
            if made.shape == found.shape and torch.allclose(made, found, atol=1e-5, rtol=1e-3):
                return relu, sum(each is relu for each, _ in calls[: place + 1])
        raise ValueError(f"fake_relu: no nn.ReLU or nn.ReLU6 makes the representation ({self.name}); leave it out")


def _passing(relu: nn.Module, call: int) -> list[Any]:
    """Hooks by which the gradient passes one of a ReLU's calls as if it were none."""
    inputs: list[Tensor] = []

    def before(_: nn.Module, given: tuple[Tensor]) -> Tensor | None:
        inputs.append(given[0])
        return given[0].clone() if len(inputs) == call else None  # it may work in place

    def after(_: nn.Module, __: tuple[Tensor], output: Tensor) -> Tensor:
        return inputs[-1] + (output - inputs[-1]).detach() if len(inputs) == call else output

    return [relu.register_forward_pre_hook(before), relu.register_forward_hook(after)]


def pooled(representation: Tensor, region: Tensor | None = None) -> Tensor:
    """The mean of a representation over its pixels, or over those of a region: `(B, K)`.

    Args:
        representation: `(B, K)`, which is returned as it is, or `(B, K, h, w)`.
        region: bool `(B, 1, H, W)`; a pixel of the representation counts by the share of it that the region covers.
    """
    if representation.ndim == 2:
        return representation
    if region is None:
        return representation.mean((2, 3))
    share = F.interpolate(region.to(representation.dtype), representation.shape[2:], mode="area")
    return (representation * share).sum((2, 3)) / share.sum((2, 3)).clamp(min=torch.finfo(share.dtype).tiny)


def region_of(batch: dict[str, Any]) -> Tensor | None:
    """A batch's `mask`, in which its representation counts; None where it has none.

    Raises:
        ValueError: if the masks are not of the images' size, or one has no pixel inside.
    """
    mask, image = batch.get("mask"), batch["image"]
    if mask is not None:
        if mask.shape[-2:] != image.shape[-2:]:
            sizes = [" x ".join(map(str, each.shape[-2:])) for each in (mask, image)]
            raise ValueError(f"a mask is {sizes[0]}, and its image {sizes[1]} pixels: make them one size")
        if not mask.flatten(1).any(1).all():
            raise ValueError("a mask has no pixel inside; paint white where the representation counts")
    return mask


def _is_linear_map(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)


def _found(network: nn.Module, image: Tensor) -> str:
    """The name of the last linear map that the network uses, if it makes the logits' classes."""
    used: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: used.append(name))
        for name, module in network.named_modules()
        if _is_linear_map(module)
    ]
    try:
        with torch.no_grad():
            classes = logits_of(network(image)).shape[1]
    finally:
        for handle in handles:
            handle.remove()
    if used and len(network.get_submodule(used[-1]).weight) == classes:  # type: ignore[arg-type]
        return used[-1]
    raise ValueError(
        f"{type(network).__name__}: has no last linear map (a linear layer or a 1 x 1 convolution that makes the "
        f"{classes} logits); name the layer whose input is the representation: layer=..."
    )


def named(network: nn.Module, layer: str) -> str:
    """The name of a layer, if the network has it; raises ValueError with those that are called alike if not."""
    names = [name for name, _ in network.named_modules() if name]
    if layer not in names:
        close = difflib.get_close_matches(layer, names, n=3, cutoff=0.4)
        raise ValueError(f"layer={layer}: the network has no such layer; it has {', '.join(close or names[-3:])}")
    return layer
