"""The output of any layer of a network, filter by filter."""

from typing import Any

import torch
from torch import Tensor, nn

from attacks.objectives import logits_of
from callbacks.synthesis.representation import named


class LayerOutput:
    """The filters of a layer: of each the sum of its activations over all places, `(B, K)`.

    Called with images `(B, 3, H, W)`, it gives the filters and the logits, as `Representation` does. What counts is
    what the layer gives before any other works on it in place, and of a layer that is used again, its last output.

    Args:
        network: in eval mode, from images to logits.
        image: `(B, 3, H, W)`; one of them is shown to the network.
        layer: the layer's name in the network, such as `model.layer3.0`.

    Raises:
        ValueError: if there is no such layer, the network does not use it, or it gives no `(B, K, ...)`.
    """

    def __init__(self, network: nn.Module, image: Tensor, layer: str) -> None:
        self.network, self.name = network, named(network, layer)
        self.layer = network.get_submodule(self.name)
        with torch.no_grad():
            self.units = self(image[:1])[0].shape[1]

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        sums: list[Tensor] = []

        def look(_: nn.Module, __: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != len(image):
                what = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
                raise ValueError(f"layer={self.name}: gives {what}, no (B, K, H, W) or (B, K); name another layer")
            sums.append(output.flatten(2).sum(2) if output.ndim > 2 else output.clone())

        handle = self.layer.register_forward_hook(look)
        try:
            logits = logits_of(self.network(image))
        finally:
            handle.remove()
        if not sums:
            raise ValueError(f"layer={self.name}: the network does not use it; name another layer")
        return sums[-1], logits

    def check_unit(self, unit: int, setting: str) -> None:
        """Raises ValueError if the layer has no such filter."""
        if not 0 <= unit < self.units:
            raise ValueError(f"{setting}={unit}: the layer ({self.name}) has {self.units} filters, from 0")
