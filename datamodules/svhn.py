"""SVHN, house numbers from the street."""

from typing import Any

import numpy as np
from scipy.io import loadmat

from datamodules.base import Split
from datamodules.images import reading
from datamodules.mnist import DIGITS
from datamodules.small_images import SmallImages


class SVHN(SmallImages):
    """SVHN, cropped digits: 73,257 training and 26,032 test images of house numbers, 32 x 32 pixels.

    `root` holds `train_32x32.mat` and `test_32x32.mat`.
    """

    classes = DIGITS

    def __init__(self, root: str, size: int = 32, padding: int = 4, flip: float = 0.0, **kwargs: Any) -> None:
        super().__init__(root, size, padding, flip, **kwargs)

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        path = self.root / ("train_32x32.mat" if split == "train" else "test_32x32.mat")
        with reading(path), path.open("rb") as file:
            stored = loadmat(file)
            images, labels = stored["X"].transpose(3, 2, 0, 1), stored["y"].ravel()
            return images, np.where(labels == 10, 0, labels)
