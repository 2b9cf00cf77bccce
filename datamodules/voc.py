"""PASCAL VOC 2012 segmentation, with or without the extra masks of the Semantic Boundaries Dataset."""

from pathlib import Path
from typing import Any

from datamodules.base import SegmentationDataModule, Split
from datamodules.files import by_name, path_of
from datamodules.images import DataError
from datamodules.lists import read_words
from datamodules.paths import Paths
from datamodules.samples import LabelFiles, LabelledImages

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VOC(SegmentationDataModule):
    """PASCAL VOC 2012 segmentation: 20 classes and background; the border of objects is void.

    `root` holds `VOCdevkit/VOC2012/` with `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/*.txt`. The
    test set is the validation set, VOC's own test labels being secret.

    With SBD (Hariharan et al. 2011) training is `train_aug`: VOC's own training images with VOC's masks, and every
    other image of SBD that is not in VOC's validation set; SBD's own training list holds some of that. Complete copies
    give 10,582 images.

    Args:
        sbd: folder of SBD's masks: `benchmark_RELEASE/dataset/cls` (`.mat`), or `SegmentationClassAug` (`.png`).
    """

    classes = CLASSES
    several_sizes = True

    def __init__(self, root: str, sbd: str | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.sbd = None if sbd is None else path_of(sbd)
        self.voc = self.root / "VOCdevkit" / "VOC2012"

    def make_set(self, split: Split) -> LabelledImages:
        names = self._listed("train" if split == "train" else "val")
        masks = {name: Path("SegmentationClass", f"{name}.png") for name in names}
        listed = self.sbd is not None or (self.voc / "ImageSets" / "Segmentation" / "val.txt").is_file()
        held_out = set(self._listed("val")) if split == "train" and listed else set()
        if split == "train" and self.sbd is not None:
            found = by_name(self.sbd, "", {".mat", ".png"})
            if not found:
                raise DataError(f"{self.sbd}: no masks of SBD in it; set --data.sbd to benchmark_RELEASE/dataset/cls")
            masks = {name: path.absolute() for name, path in found.items() if name not in held_out} | masks
        if leaked := sorted(held_out & masks.keys()):
            where = self.voc / "ImageSets" / "Segmentation"
            raise DataError(
                f"{where / 'train.txt'}: {len(leaked)} of its images, such as {leaked[0]}, are in val.txt, too; "
                "restore VOC's own list, and give SBD's masks as --data.sbd"
            )
        labels = Paths(self.voc, map(str, masks.values())).require("unpack VOC's archive again")
        images = Paths(self.voc, (f"JPEGImages/{name}.jpg" for name in masks)).require("unpack VOC's archive again")
        return LabelledImages(images, LabelFiles(labels), len(CLASSES), self.transform(split))

    def _listed(self, which: str) -> list[str]:
        path = self.voc / "ImageSets" / "Segmentation" / f"{which}.txt"
        if not path.is_file():
            raise DataError(f"{path}: not found; {self.root} should hold VOCdevkit/VOC2012 as in VOC's archive")
        names = read_words(path)
        if not names:
            raise DataError(f"{path}: an empty list; unpack VOC's archive again")
        return names
