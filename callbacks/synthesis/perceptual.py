"""How different two images look, to a network's feature maps."""

from pathlib import Path

import torch
import torchmetrics.functional.image.lpips as published_lpips
from torch import Tensor, nn

from attacks.objectives import logits_of
from callbacks.synthesis.representation import pooled

PUBLISHED = {
    "alexnet": ("alex", (1, 4, 7, 9, 11)),
    "squeezenet1_1": ("squeeze", (1, 4, 7, 9, 10, 11, 12)),
    "vgg16": ("vgg", (3, 8, 15, 22, 29)),
}
"""Networks that Zhang et al. have weights for: torchmetrics' name of the file, and the layers of `model.features`."""


class LPIPS:
    """The distance of images in unit-normalised feature maps at several depths: Zhang et al. 2018, eq. 1.

    d(x, y) = sum over layers l of the mean over pixels of ||w_l (f_l(x) - f_l(y))||^2, f_l a map of unit vectors. 0 for
    equal images. By default **unweighted**, w = 1, with the features of any convolutional network: good to compare
    pictures by the same network's features, and no number to set beside published ones.

    Args:
        network: in eval mode, from images to logits.
        image: `(B, 3, H, W)`; one of them is shown to the network, to find the layers.
        layers: whose outputs are the maps; by default, found by looking, those that others make coarser (in VGG what
            is pooled, in a ResNet the ends of its stages), and the last map.
        published: take the weights of Zhang et al., which torchmetrics carries: for `Network("alexnet", ...)`,
            `vgg16` or `squeezenet1_1` with torchvision's ImageNet weights. This is the published LPIPS.

    Raises:
        ValueError: if no layer is found, or one that is named does not exist, or there are no published weights.
    """

    def __init__(
        self, network: nn.Module, image: Tensor, layers: list[str] | None = None, published: bool = False
    ) -> None:
        self.network = network
        self.weights: list[Tensor] | None = None
        if published:
            layers, self.weights = _published(network)
        self.layers = layers or feature_maps(network, image)
        known = dict(network.named_modules())
        unknown = [layer for layer in self.layers if layer not in known]
        if unknown:
            raise ValueError(f"layers: the network has no {', '.join(unknown)}")
        if not self.layers:
            raise ValueError(f"{type(network).__name__}: no feature maps found for LPIPS; name some: layers=[...]")

    def __call__(self, image: Tensor, other: Tensor, region: Tensor | None = None) -> Tensor:
        """The distances, `(B,)`.

        Args:
            image: `(B, 3, H, W)` in `[0, 1]`, like `other`.
            region: bool `(B, 1, H, W)`: a pixel of a map counts by the share of it that the region covers.
        """
        total = torch.zeros(len(image), device=image.device, dtype=image.dtype)
        for i, (one, two) in enumerate(zip(self._maps(image), self._maps(other), strict=True)):
            square = (one - two).square()
            if self.weights is not None:
                square = square * self.weights[i].to(square)
            total = total + pooled(square.sum(1, keepdim=True), region)[:, 0]
        return total

    def _maps(self, image: Tensor) -> list[Tensor]:
        """The feature maps, a unit vector at each pixel."""
        seen: dict[str, Tensor] = {}
        handles = [
            self.network.get_submodule(name).register_forward_hook(
                lambda _, __, output, name=name: seen.__setitem__(name, output)
            )
            for name in self.layers
        ]
        try:
            self.network(image)
        finally:
            for handle in handles:
                handle.remove()
        return [seen[name] / (seen[name].square().sum(1, keepdim=True) + 1e-8).sqrt() for name in self.layers]


def feature_maps(network: nn.Module, image: Tensor) -> list[str]:
    """The layers that make the maps which others make coarser, one for each resolution, and the last map.

    Empty where the network has no maps.
    """
    image = image[:1]
    maps: list[tuple[str, Tensor]] = []
    found: dict[torch.Size, str] = {}

    def look(name: str, inputs: tuple[object, ...], output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[2:].numel() == 1:
            return
        if output.shape[1] == image.shape[1]:  # the image itself, normalised or padded
            return
        for maker, source in reversed(maps):  # a container comes after the last layer in it, and makes the same
            if any(source is each for each in inputs):
                if _is_coarser(output, source):
                    found[source.shape[2:]] = maker
                break
        maps.append((name, output))

    handles = [
        module.register_forward_hook(lambda _, inputs, output, name=name: look(name, inputs, output))
        for name, module in network.named_modules()
    ]
    try:
        with torch.no_grad():
            logits = logits_of(network(image))
    finally:
        for handle in handles:
            handle.remove()
    while maps and logits.ndim == 4 and maps[-1][1].shape[1] == logits.shape[1]:  # logits are no features
        maps.pop()
    for name, output in maps[-1:]:
        found.setdefault(output.shape[2:], name)
    return list(found.values())


def _is_coarser(output: Tensor, source: Tensor) -> bool:
    """By half again at least: a convolution without padding takes no more than a border away."""
    return all(3 * after <= 2 * before for after, before in zip(output.shape[2:], source.shape[2:], strict=True))


def _published(network: nn.Module) -> tuple[list[str], list[Tensor]]:
    """The layers, and the squares of their channels' weights w, `(1, C, 1, 1)` each."""
    name = getattr(network, "name", type(network).__name__)
    if name not in PUBLISHED:
        raise ValueError(f"LPIPS has published weights for {', '.join(PUBLISHED)}, not for {name}")
    file, indices = PUBLISHED[name]
    path = Path(published_lpips.__file__).parent / "lpips_models" / f"{file}.pth"
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return [f"model.features.{i}" for i in indices], [weights[f"lin{i}.model.1.weight"] for i in range(len(indices))]
