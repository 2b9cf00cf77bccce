"""PASCAL VOC 2012 segmentation."""

from datamodules.base import SegmentationDataModule, Split
from datamodules.samples import DataError, LabelFiles, LabelledImages

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VOC(SegmentationDataModule):
    """PASCAL VOC 2012 segmentation: 20 classes and background; the border of objects is void.

    `root` holds `VOCdevkit/VOC2012/` with `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/*.txt`. The
    test set is the validation set, VOC's own test labels being secret.
    """

    classes = CLASSES

    def make_set(self, split: Split) -> LabelledImages:
        voc = self.root / "VOCdevkit" / "VOC2012"
        names_file = voc / "ImageSets" / "Segmentation" / ("train.txt" if split == "train" else "val.txt")
        if not names_file.is_file():
            raise DataError(f"{names_file}: not found; {self.root} should hold VOCdevkit/VOC2012 as in VOC's archive")
        names = names_file.read_text().split()
        images = [voc / "JPEGImages" / f"{name}.jpg" for name in names]
        labels = [voc / "SegmentationClass" / f"{name}.png" for name in names]
        absent = [path for path in (*images, *labels) if not path.is_file()]
        if absent or not names:
            raise DataError(
                f"{absent[0] if absent else names_file}: missing or empty, though {names_file.name} asks for it"
            )
        return LabelledImages(images, LabelFiles(labels), len(CLASSES), self.transform(split))
