"""Where the painting of a representation begins."""

from typing import Literal, get_args

import torch
from torch import Tensor

from attacks.seeds import normal

Start = Literal["noise", "grey", "image"]
"""Gaussian noise around grey, as in the code of Engstrom et al. 2019; plain grey; an image."""


def check_start(start: Start) -> Start:
    """Raises ValueError if a start is none."""
    if start not in get_args(Start):
        raise ValueError(f"start={start}: none of {', '.join(get_args(Start))}")
    return start


def without_image(start: Start, like: Tensor, seed: Tensor) -> Tensor:
    """The start images that show nothing, `noise` (a twentieth of a standard normal, plus a half) and `grey`.

    Args:
        start: which.
        like: `(B, 3, H, W)`.
        seed: int64 `(B,)`, of the noise.
    """
    return torch.full_like(like, 0.5) if start == "grey" else (0.5 + normal(like, seed) / 20).clamp(0, 1)
