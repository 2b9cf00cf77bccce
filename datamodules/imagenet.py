"""ImageNet (ILSVRC 2012), and Restricted ImageNet."""

from pathlib import Path
from typing import Any, ClassVar

from torchvision.models import ResNet50_Weights

from datamodules.base import Split
from datamodules.images import DataError
from datamodules.photographs import Listing, Photographs, by_folder, listing

SYNSETS = tuple((Path(__file__).parent / "imagenet_synsets.txt").read_text().split())
"""WordNet's ids of ILSVRC 2012's classes, in label order."""


class ImageNet(Photographs):
    """ImageNet, ILSVRC 2012: 1,281,167 training and 50,000 validation images of 1,000 classes.

    `root` holds `train/` and `val/` with a folder of images for each synset (`n01440764`, ...). A class keeps its
    number when other classes are absent. The test set is the validation set, the test labels being secret.

    Args:
        train: folder of the training images below root.
        val: folder of the validation images below root; that of a variant with the same synsets, to test on it.
    """

    classes: tuple[str, ...] = tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])

    def __init__(self, root: str, train: str = "train", val: str = "val", **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.folders = {"train": train, "val": val, "test": val}

    def files(self, split: Split) -> Listing:
        folder = self.root / self.folders[split]
        if split == "train" and (self.root / self.folders["val"]).resolve() == folder.resolve():
            raise DataError(f"{folder}: training and validation on the same images; set --data.val to another folder")
        found = by_folder(folder, "sort the images into one folder for each synset, n01440764 and so on")
        strange = [synset for synset in found if synset not in SYNSETS]
        if strange:
            raise DataError(f"{folder / strange[0]}: no synset of ILSVRC 2012; use ImageFolder for other classes")
        labels = {synset: self.label(SYNSETS.index(synset)) for synset in found}
        used = {synset: label for synset, label in labels.items() if label is not None}
        if not used:
            raise DataError(f"{folder}: none of the {len(found)} synsets in it belongs to {type(self).__name__}")
        return listing(folder, {synset: found[synset] for synset in used}, used)

    def label(self, number: int) -> int | None:
        """The label of ILSVRC's class of a number; None if the task is without it."""
        return number


class RestrictedImageNet(ImageNet):
    """Restricted ImageNet: nine groups of ImageNet's classes (Engstrom et al. 2019, Table 1); the others are left out.

    Images, folders and their names are those of `ImageNet`.

    Args:
        train: folder of the training images below root.
        val: folder of the validation images below root.
    """

    GROUPS: ClassVar = {
        "dog": range(151, 269),
        "cat": range(281, 286),
        "frog": range(30, 33),
        "turtle": range(33, 38),
        "bird": range(80, 101),
        "primate": range(365, 383),
        "fish": range(389, 398),
        "crab": range(118, 122),
        "insect": range(300, 320),
    }
    classes = tuple(GROUPS)

    def label(self, number: int) -> int | None:
        return next((i for i, group in enumerate(self.GROUPS.values()) if number in group), None)
