"""STL-10."""

from typing import Any

import numpy as np

from datamodules.base import Split
from datamodules.images import reading
from datamodules.small_images import SmallImages


class STL10(SmallImages):
    """STL-10: 5,000 training and 8,000 test images of ten classes, 96 x 96 pixels; the unlabelled ones are not used.

    `root` holds `stl10_binary/` with `train_X.bin`, `train_y.bin`, `test_X.bin` and `test_y.bin`.
    """

    classes = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")

    def __init__(self, root: str, size: int = 96, padding: int = 12, flip: float = 0.5, **kwargs: Any) -> None:
        super().__init__(root, size, padding, flip, **kwargs)

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        which = "train" if split == "train" else "test"
        images, labels = (self.root / "stl10_binary" / f"{which}_{kind}.bin" for kind in "Xy")
        with reading(images):
            columns = np.fromfile(images, np.uint8).reshape(-1, 3, 96, 96)
        with reading(labels):
            return columns.transpose(0, 1, 3, 2), np.fromfile(labels, np.uint8).astype(np.int64) - 1
