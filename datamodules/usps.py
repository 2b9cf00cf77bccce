"""USPS, handwritten digits from envelopes."""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision import datasets
from torchvision.transforms.v2 import functional as F

from datamodules.base import Split
from datamodules.images import reading
from datamodules.mnist import DIGITS
from datamodules.small_images import SmallImages

Layout = Literal["frame", "margin", "mass"]


class USPS(SmallImages):
    """USPS: 7,291 training and 2,007 test images of handwritten digits, 16 x 16 pixels, grey as three channels.

    By default resized to 32 pixels, as `MNIST` is. `root` holds `usps.bz2` and `usps.t.bz2`.

    USPS's digits fill their image, while MNIST's lie in a box of 20 of the 28 pixels, their centre of mass in the
    middle. A network of one sees the other's digits 1.4 times too large or small, unless they are laid out anew.

    Args:
        layout: how an image fills the size asked for: the whole `frame`, as the field has it and as it is stored; with
            MNIST's `margin`, in the middle; or with that margin and the centre of `mass` in the middle, as MNIST.
    """

    classes = DIGITS

    def __init__(
        self,
        root: str,
        size: int = 32,
        padding: int = 0,
        flip: float = 0.0,
        layout: Layout = "frame",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, size, padding, flip, **kwargs)
        self.layout = layout

    def read(self, split: Split) -> tuple[np.ndarray | Tensor, list[int]]:
        with reading(self.root / ("usps.bz2" if split == "train" else "usps.t.bz2")):
            stored = datasets.USPS(self.root, train=split == "train")
        if self.layout == "frame":
            return stored.data, stored.targets
        return with_margin(torch.as_tensor(stored.data), self.size, self.layout == "mass"), stored.targets


def with_margin(images: Tensor, size: int, by_mass: bool) -> Tensor:
    """Digits that fill their images, in a box as large as MNIST's.

    Args:
        images: uint8 `(N, H, W)`, ink on 0.
        size: height and width of what is returned, uint8 `(N, size, size)`.
        by_mass: whether the centre of mass is in the middle, to a pixel, as far as the box stays inside; else the box.
    """
    box = max(1, round(size * 20 / 28))
    small = F.resize(images.unsqueeze(1), [box, box], antialias=True).squeeze(1)
    rest = size - box
    if not by_mass:
        return pad(small, (rest // 2, rest - rest // 2, rest // 2, rest - rest // 2))
    places = torch.arange(box, dtype=torch.float64) + 0.5
    mass = small.double()
    total = mass.sum((1, 2)).clamp(min=1)
    tops, lefts = ((size / 2 - (mass.sum(axis) @ places) / total).round().long().clamp(0, rest) for axis in (2, 1))
    laid = small.new_zeros(len(small), size, size)
    for digit, top, left, image in zip(small, tops.tolist(), lefts.tolist(), laid, strict=True):
        image[top : top + box, left : left + box] = digit
    return laid
