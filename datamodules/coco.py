"""COCO 2017 with the 21 classes of PASCAL VOC."""

import contextlib
import io
from functools import partial
from pathlib import Path

import numpy as np
from pycocotools import coco

from datamodules.base import SegmentationDataModule, Split
from datamodules.samples import IGNORE_INDEX, DataError, LabelledImages
from datamodules.voc import CLASSES

CATEGORIES = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
"""COCO's category of each VOC class, in label order; the other 59 categories are background."""

MIN_TRAIN_AREA = 1000
"""Training leaves out images whose annotations of the 21 classes have no larger area, in pixels, in total."""


class COCO(SegmentationDataModule):
    """COCO 2017 as a segmentation task: 20 VOC classes and background, with torchvision's reference semantics.

    Instances, crowds included, are painted with their class; a pixel covered by more than one is void; everything else,
    objects of the other 59 categories included, is background. Training leaves out images whose annotations of the 20
    classes cover 1000 pixels or less; validation (also the test set, COCO's own test labels being secret) is all 5000.

    `root` holds `annotations/instances_{train,val}2017.json`, `train2017/` and `val2017/`.
    """

    classes = CLASSES

    def make_set(self, split: Split) -> LabelledImages:
        folder = "train2017" if split == "train" else "val2017"
        annotations = _load(self.root / "annotations" / f"instances_{folder}.json", self.root)
        ids = sorted(annotations.imgs)
        if split == "train":
            ids = [image_id for image_id in ids if _trainable(annotations, image_id)]
        if not ids:
            raise DataError(f"{self.root}: no image of {folder} to use; training needs annotations of the VOC classes")
        images = [self.root / folder / annotations.imgs[image_id]["file_name"] for image_id in ids]
        present = {path.name for path in (self.root / folder).iterdir()} if (self.root / folder).is_dir() else set()
        absent = [path for path in images if path.name not in present]
        if absent:
            raise DataError(
                f"{absent[0]}: annotated but absent ({len(absent)} of {len(images)} images); unpack {folder}.zip"
            )
        return LabelledImages(images, partial(_paint, annotations, ids), len(CLASSES), self.transform(split))


_IMAGE_KEYS = {"file_name", "height", "width"}
_ANNOTATION_KEYS = {"area", "category_id", "segmentation"}


def label_map(annotations: coco.COCO, image_id: int) -> np.ndarray:
    """The label map of an image: uint8 `(H, W)`, classes 0..20, 255 where instances overlap."""
    image = annotations.imgs[image_id]
    label = np.zeros((image["height"], image["width"]), dtype=np.uint8)
    covered, overlap = np.zeros(label.shape, dtype=bool), np.zeros(label.shape, dtype=bool)
    for annotation in annotations.imgToAnns[image_id]:
        if annotation["category_id"] in CATEGORIES:
            mask = annotations.annToMask(annotation).astype(bool)
            label[mask] = CATEGORIES.index(annotation["category_id"])
            overlap |= covered & mask
            covered |= mask
    label[overlap] = IGNORE_INDEX
    return label


def _paint(annotations: coco.COCO, ids: list[int], index: int) -> np.ndarray:
    return label_map(annotations, ids[index])


def _trainable(annotations: coco.COCO, image_id: int) -> bool:
    areas = [a["area"] for a in annotations.imgToAnns[image_id] if a["category_id"] in CATEGORIES]
    return sum(areas) > MIN_TRAIN_AREA


def _load(path: Path, root: Path) -> coco.COCO:
    if not path.is_file():
        raise DataError(f"{path}: not found; {root} should hold annotations/, train2017/ and val2017/ of COCO 2017")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            annotations = coco.COCO(str(path))
        for records, keys in ((annotations.imgs, _IMAGE_KEYS), (annotations.anns, _ANNOTATION_KEYS)):
            for key, record in records.items():
                if not keys <= record.keys():
                    raise DataError(
                        f"{path}: record {key} has no {', '.join(sorted(keys - record.keys()))}; fetch the file again"
                    )
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise DataError(f"{path}: no COCO annotation file ({error!r}); fetch it again") from None
    return annotations
