"""The filters of a network's first convolution as pictures."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks import undisturbed
from attacks.objectives import logits_of
from callbacks.synthesis.base import prepared
from callbacks.synthesis.callback import PictureCallback
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.representation import named

SIDE = 32
"""About how many pixels a filter is shown with."""


class FirstFilters(PictureCallback):
    """Shows the weights of a network's first convolution, each filter a small picture (Itazuri et al. 2019, Figure 3).

    Grey is 0, and a weight of 0.5 is full colour, for every network: no filter is stretched, so that those of two
    networks can be compared. The paper finds those of robust networks smaller. What stands behind a batch norm may have
    any scale without being another network: compare networks that were trained alike. The weights are those that the
    normalised image meets.

    The picture is the same for all samples. Scores `filter_norm`, the mean Euclidean norm of the filters, and
    `filter_clipped`, the share of weights beyond 0.5, which are cut off.

    Args:
        layer: another layer that sees three channels, by its name in the network; the first convolution if not given.
        samples: how many validation samples, spread evenly over the set, or their indices.
        every_n_epochs: after the evaluation of every n-th epoch; the last one is always shown.
    """

    task = "first_filters"

    def __init__(self, layer: str | None = None, samples: int | list[int] = 1, every_n_epochs: int = 1) -> None:
        super().__init__(samples, every_n_epochs)
        self.layer = layer

    def synthesize(self, network: nn.Module, batch: dict[str, Any]) -> list[Painting]:
        with undisturbed(network), torch.no_grad():
            image = prepared(batch)[0]["image"]
            weight = first_filters(network, image, self.layer)
            logits = logits_of(network(image))
        picture = filter_picture(weight).to(image).expand(len(image), -1, -1, -1)
        norms = weight.flatten(1).norm(dim=1)
        scores = {"filter_norm": norms.mean(), "filter_clipped": (weight.abs() > 0.5).to(norms).mean()}
        of_each = {name: value.expand(len(image)) for name, value in scores.items()}
        return [Painting("", image, image, picture, logits, of_each)]

    def check(self, network: nn.Module, batch: dict[str, Any]) -> None:
        self.synthesize(network, batch)


def first_filters(network: nn.Module, image: Tensor, layer: str | None = None) -> Tensor:
    """The weights of the first convolution that a network uses, or of a layer by its name, `(K, 3, h, w)`.

    Args:
        network: in eval mode.
        image: `(B, 3, H, W)`; one of them is shown to the network, to find the layer.
        layer: its name.

    Raises:
        ValueError: if there is no such layer, or it is no convolution of three channels.
    """
    name = _first(network, image[:1]) if layer is None else named(network, layer)
    found = network.get_submodule(name)
    if not isinstance(found, nn.Conv2d):
        remedy = "name a convolution" if layer else "its first layer with weights; name a convolution: layer=..."
        raise ValueError(f"layer={name}: is a {type(found).__name__}, no convolution; {remedy}")
    if found.weight.shape[1] != 3:
        channels = found.weight.shape[1]
        raise ValueError(f"layer={name}: its filters have {channels} channels; only those of 3 are pictures")
    return found.weight.detach()


def filter_picture(weight: Tensor) -> Tensor:
    """Filters `(K, 3, h, w)` plus 0.5, cut off at 0 and 1, in a grid on white, `(3, H, W)`; each pixel is a square."""
    count, _, height, width = weight.shape
    columns = max(1, round((count * height / width) ** 0.5))
    tiles = (weight + 0.5).clamp(0, 1).repeat_interleave(times := max(1, SIDE // max(height, width)), 2)
    tiles = F.pad(tiles.repeat_interleave(times, 3), (0, 2, 0, 2), value=1.0)
    missing = -count % columns
    tiles = torch.cat([tiles, torch.ones_like(tiles[:1]).expand(missing, -1, -1, -1)])
    grid = tiles.view(-1, columns, *tiles.shape[1:]).permute(2, 0, 3, 1, 4)  # channels, rows, height, columns, width
    return grid.reshape(3, -1, columns * tiles.shape[3])[:, :-2, :-2]


def _first(network: nn.Module, image: Tensor) -> str:
    """The name of the first convolution or linear layer that a network uses."""
    used: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: used.append(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    if not used:
        raise ValueError(f"{type(network).__name__}: uses no convolution; there are no filters to show")
    return used[0]
