"""Stanford Dogs."""

import numpy as np
from scipy.io import loadmat

from datamodules.base import Split
from datamodules.images import reading
from datamodules.lists import check_inside, whole_numbers
from datamodules.paths import Paths
from datamodules.photographs import Listing, Photographs


class StanfordDogs(Photographs):
    """Stanford Dogs: 12,000 training and 8,580 test images of 120 breeds.

    `root` holds `Images/`, `train_list.mat` and `test_list.mat`.
    """

    def files(self, split: Split) -> Listing:
        path = self.root / ("train_list.mat" if split == "train" else "test_list.mat")
        with reading(path), path.open("rb") as file:
            lists = loadmat(file, squeeze_me=True)
            names = [str(name) for name in np.atleast_1d(lists["file_list"])]
            labels = (whole_numbers(np.atleast_1d(lists["labels"])) - 1).tolist()
            check_inside(names, path)
            breeds = {label: name.split("/")[0].partition("-")[2] for name, label in zip(names, labels, strict=True)}
        images = Paths(self.root / "Images", names).require("unpack images.tar")
        self.classes = tuple(breeds.get(label, f"breed {label + 1}") for label in range(120))
        return Listing(images, labels)
