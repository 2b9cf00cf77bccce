"""Oxford Flowers-102."""

from pathlib import Path

import numpy as np
from scipy.io import loadmat
from torchvision import datasets

from datamodules.base import Split
from datamodules.images import DataError, reading
from datamodules.lists import whole_numbers
from datamodules.paths import Paths
from datamodules.photographs import Listing, Photographs


class Flowers102(Photographs):
    """Oxford Flowers-102: 1,020 training, 1,020 validation and 6,149 test images of 102 species.

    `root` holds `flowers-102/` with `jpg/`, `imagelabels.mat` and `setid.mat`.
    """

    classes = tuple(datasets.Flowers102.classes)

    def files(self, split: Split) -> Listing:
        folder = self.root / "flowers-102"
        for name in ("jpg", "imagelabels.mat", "setid.mat"):
            if not (folder / name).exists():
                raise DataError(f"{folder / name}: not found; {self.root} should hold flowers-102/ with it")
        labels = _row(folder / "imagelabels.mat", "labels")
        numbers = _row(folder / "setid.mat", {"train": "trnid", "val": "valid", "test": "tstid"}[split])
        if numbers.max(initial=0) > len(labels):
            raise DataError(f"{folder / 'imagelabels.mat'}: no label for image {numbers.max()}; fetch it again")
        images = Paths(folder / "jpg", (f"image_{number:05}.jpg" for number in numbers))
        return Listing(images.require("unpack 102flowers.tgz again"), labels[numbers - 1] - 1)


def _row(path: Path, name: str) -> np.ndarray:
    with reading(path), path.open("rb") as file:
        return whole_numbers(loadmat(file)[name].ravel())
