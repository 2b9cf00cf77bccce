"""Sensitivity maps `(B, 3, H, W)` as pictures."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from callbacks.insight.gradient_pictures import gradient_picture

Display = Literal["channels", "signed", "absolute"]
"""`channels`: each channel by itself, as the paper does; `signed`: their sum; `absolute`: the sum of their sizes."""

WHITE = 0.99
"""Which share of a map's pixels are no brighter than white in `absolute` (Smilkov et al. 2017)."""


def signed(values: Tensor) -> Tensor:
    """The sum over channels, what more brightness would do: grey is 0, white and black 3 standard deviations."""
    return gradient_picture(values.sum(1, keepdim=True)).expand(-1, 3, -1, -1)


def absolute(values: Tensor) -> Tensor:
    """`strength`, from black to white."""
    return strength(values).expand(-1, 3, -1, -1)


def strength(values: Tensor) -> Tensor:
    """Each pixel's sum of the channels' absolute values, `(B, 1, H, W)` in `[0, 1]`: 1 is the 99th percentile."""
    tiny = torch.finfo(values.dtype).tiny
    values = values / values.abs().amax((1, 2, 3), keepdim=True).clamp(min=tiny)  # or sums may be 0
    sums = values.abs().sum(1, keepdim=True)
    white = sums.flatten(1).kthvalue(math.ceil(WHITE * sums[0].numel()), 1).values.view(-1, 1, 1, 1)
    return (sums / torch.where(white > 0, white, 1)).clamp(0, 1)


DISPLAYS: dict[Display, Callable[[Tensor], Tensor]] = {
    "channels": gradient_picture,
    "signed": signed,
    "absolute": absolute,
}
"""From maps to pictures `(B, 3, H, W)` in `[0, 1]`."""
