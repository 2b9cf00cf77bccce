"""COCO 2017 with the 21 classes of PASCAL VOC."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datamodules.base import SegmentationDataModule, Split
from datamodules.cache import cache_folder, digest, keep
from datamodules.coco_annotations import LAYOUT, Annotations, read_annotations
from datamodules.images import DataError, Paths, read_label_map, reading
from datamodules.samples import LabelledImages
from datamodules.voc import CLASSES

CATEGORIES = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
    "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
)  # fmt: skip
"""COCO's names of VOC's classes 1 to 20; the other 60 categories are background."""

MIN_TRAIN_AREA = 1000
"""Training leaves out images whose annotations of the 20 classes have no larger area, in pixels, in total."""


class COCO(SegmentationDataModule):
    """COCO 2017 as a segmentation task: 20 VOC classes and background, with torchvision's reference semantics.

    Instances, crowds included, are painted with their class; a pixel covered by more than one is void; everything else,
    objects of the other 60 categories included, is background. Training leaves out images whose annotations of the 20
    classes cover 1000 pixels or less; validation (also the test set, COCO's own test labels being secret) is all 5000.

    `root` holds `annotations/instances_{train,val}2017.json`, `train2017/` and `val2017/`. Label maps are drawn once
    and kept as PNGs in a cache, which belongs to the content of the annotation file and can be deleted at any time.

    Args:
        cache: folder of the cache; by default `root/.saddle`, or the user's cache folder if that cannot be written.
    """

    classes = CLASSES
    several_sizes = True

    def __init__(self, root: str, cache: str | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.cache = cache

    def make_set(self, split: Split) -> LabelledImages:
        folder = "train2017" if split == "train" else "val2017"
        path = self.root / "annotations" / f"instances_{folder}.json"
        if not path.is_file():
            raise DataError(
                f"{path}: not found; {self.root} should hold annotations/, train2017/ and val2017/ of COCO 2017"
            )
        with reading(path):
            content = digest(path)
        cache = cache_folder(self.root, f"coco_{folder}_{content}_{LAYOUT}", self.cache)
        labels = {name: label for label, name in enumerate(CATEGORIES, start=1)}
        annotations = read_annotations(path, labels, cache)
        chosen = np.flatnonzero(annotations.areas > MIN_TRAIN_AREA) if split == "train" else range(len(annotations.ids))
        if not len(chosen):
            raise DataError(f"{self.root}: no image of {folder} to use; training needs annotations of the VOC classes")
        names = [annotations.names[i].decode() for i in chosen]
        images = Paths(self.root / folder, names).require(f"unpack {folder}.zip")
        read_label = KeptLabels(annotations, np.asarray(chosen), cache / "labels")
        return LabelledImages(images, read_label, len(CLASSES), self.transform(split))


class KeptLabels:
    """Draws the label map of a chosen image, or reads the one drawn before.

    Args:
        annotations: what to draw.
        chosen: places of the chosen images among all of them.
        folder: where drawn label maps are kept, one PNG an image.
    """

    def __init__(self, annotations: Annotations, chosen: np.ndarray, folder: Path) -> None:
        self.annotations, self.chosen, self.folder = annotations, chosen, folder

    def __call__(self, index: int) -> np.ndarray:
        i = int(self.chosen[index])
        path = self.folder / f"{self.annotations.ids[i]:012}.png"
        try:
            label = read_label_map(path)
            if label.dtype == np.uint8 and label.shape == tuple(self.annotations.sizes[i]):
                return label
        except DataError:
            pass
        label = self.annotations.label_map(i)
        file = io.BytesIO()
        Image.fromarray(label).save(file, "PNG", compress_level=1)
        keep(file.getvalue(), path)
        return label
