"""MNIST, handwritten digits."""

from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.datasets.mnist import read_image_file, read_label_file

from datamodules.base import Split
from datamodules.images import DataError, reading
from datamodules.small_images import SmallImages

DIGITS = tuple("0123456789")


class MNIST(SmallImages):
    """MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28 pixels, grey as three channels.

    By default resized to the 32 pixels of SVHN, so that a network trained on one can be tested on the other.

    `root` holds the idx files `train-images-idx3-ubyte` and so on, unpacked, itself or in `MNIST/raw/`.
    """

    classes = DIGITS

    def __init__(self, root: str, size: int = 32, padding: int = 0, flip: float = 0.0, **kwargs: Any) -> None:
        super().__init__(root, size, padding, flip, **kwargs)

    def read(self, split: Split) -> tuple[Tensor, Tensor]:
        which = "train" if split == "train" else "t10k"
        images, labels = self._find(f"{which}-images-idx3-ubyte"), self._find(f"{which}-labels-idx1-ubyte")
        with reading(images):
            pixels = read_image_file(str(images))
        with reading(labels):
            return pixels, read_label_file(str(labels))

    def _find(self, name: str) -> Path:
        for folder in (self.root / "MNIST" / "raw", self.root / "raw", self.root):
            if (folder / name).is_file():
                return folder / name
        raise DataError(f"{self.root / name}: not found, here or in MNIST/raw; unpack the .gz files of MNIST there")
