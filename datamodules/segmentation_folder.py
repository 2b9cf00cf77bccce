"""Any data set of image and label-map folders, such as CamVid or a user's own."""

from pathlib import Path
from typing import Any

from PIL import Image

from datamodules.base import SegmentationDataModule, Split
from datamodules.images import DataError, files_by_stem
from datamodules.samples import LabelFiles, LabelledImages


class SegmentationFolder(SegmentationDataModule):
    """Folders of images and of label maps, paired by file name without its ending.

    A label map is a PNG of one channel (or a palette) holding class indices.

    Args:
        root: the folder that the patterns below start from.
        classes: names of the classes, in label order.
        images: folder of a split's images below root, `{split}` being train, val or test.
        labels: folder of its label maps, likewise.
        void: values of the label maps to leave out of every loss and metric, besides 255.
    """

    def __init__(
        self,
        root: str,
        classes: list[str],
        images: str = "images/{split}",
        labels: str = "labels/{split}",
        void: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.classes = tuple(classes)
        self.images, self.labels, self.void = images, labels, void or []

    def make_set(self, split: Split) -> LabelledImages:
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set --data.root to the data set")
        place, folder = (self.root / pattern.replace("{split}", split) for pattern in (self.images, self.labels))
        images, labels = files_by_stem(place), files_by_stem(folder)
        for stem, path in images.items():
            if stem not in labels:
                raise DataError(f"{path}: no label map of that name in {folder}")
            if _size(path) != _size(labels[stem]):
                raise DataError(f"{path} is {_size(path)} pixels, its label map {labels[stem]} {_size(labels[stem])}")
        read_label = LabelFiles([labels[stem] for stem in images], self.void)
        return LabelledImages(list(images.values()), read_label, len(self.classes), self.transform(split))


def _size(path: Path) -> tuple[int, int]:
    """Width and height, from the header alone."""
    try:
        with Image.open(path) as image:
            return image.size
    except Exception as error:  # each format's reader has errors of its own
        raise DataError(f"{path}: no readable image ({error}); remove it or fetch it again") from None
