"""USPS, handwritten digits from envelopes."""

from typing import Any

import numpy as np
from torchvision import datasets

from datamodules.base import Split
from datamodules.images import reading
from datamodules.mnist import DIGITS
from datamodules.small_images import SmallImages


class USPS(SmallImages):
    """USPS: 7,291 training and 2,007 test images of handwritten digits, 16 x 16 pixels, grey as three channels.

    By default resized to 32 pixels, as `MNIST` is. `root` holds `usps.bz2` and `usps.t.bz2`.
    """

    classes = DIGITS

    def __init__(self, root: str, size: int = 32, padding: int = 0, flip: float = 0.0, **kwargs: Any) -> None:
        super().__init__(root, size, padding, flip, **kwargs)

    def read(self, split: Split) -> tuple[np.ndarray, list[int]]:
        with reading(self.root / ("usps.bz2" if split == "train" else "usps.t.bz2")):
            stored = datasets.USPS(self.root, train=split == "train")
        return stored.data, stored.targets
