"""Any data set of image and label-map folders, such as CamVid or a user's own."""

from pathlib import Path

from PIL import Image

from datamodules.base import SegmentationDataModule, Split
from datamodules.samples import DataError, LabelFiles, LabelledImages, files_by_stem


class SegmentationFolder(SegmentationDataModule):
    """Folders of images and of label maps, paired by file name without its ending.

    A label map is a PNG of one channel (or a palette) holding class indices.

    Args:
        root: the folder that the patterns below start from.
        classes: names of the classes, in label order.
        images: folder of a split's images below root, `{split}` being train, val or test.
        labels: folder of its label maps, likewise.
        void: values of the label maps to leave out of every loss and metric, besides 255.
        batch_size: training samples per step and device.
        crop: side of the square training crops, in pixels.
        scale: range of the short side's random length before cropping, in pixels.
        flip: probability of a horizontal flip.
        eval_size: short side in evaluation, images and labels alike; or height and width; or null for native size.
        eval_batch_size: evaluation samples per step and device; more than 1 needs images of one size.
        num_workers: processes per device that read data.
        predict_images: folder of images for `predict`.
    """

    def __init__(
        self,
        root: str,
        classes: list[str],
        images: str = "images/{split}",
        labels: str = "labels/{split}",
        void: list[int] | None = None,
        batch_size: int = 4,
        crop: int = 480,
        scale: tuple[int, int] = (260, 1040),
        flip: float = 0.5,
        eval_size: int | tuple[int, int] | None = 520,
        eval_batch_size: int = 1,
        num_workers: int = 4,
        predict_images: str | None = None,
    ) -> None:
        super().__init__(root, batch_size, crop, scale, flip, eval_size, eval_batch_size, num_workers, predict_images)
        self.classes = tuple(classes)
        self.images, self.labels, self.void = images, labels, void or []

    def make_set(self, split: Split) -> LabelledImages:
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set --data.root to the data set")
        images = files_by_stem(self.root / self.images.format(split=split))
        labels = files_by_stem(self.root / self.labels.format(split=split))
        for stem, path in images.items():
            if stem not in labels:
                raise DataError(f"{path}: no label map of that name in {self.root / self.labels.format(split=split)}")
            if _size(path) != _size(labels[stem]):
                raise DataError(f"{path} is {_size(path)} pixels, its label map {labels[stem]} {_size(labels[stem])}")
        read_label = LabelFiles([labels[stem] for stem in images], self.void)
        return LabelledImages(list(images.values()), read_label, len(self.classes), self.transform(split))


def _size(path: Path) -> tuple[int, int]:
    """Width and height, from the header alone."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise DataError(f"{path}: no readable image ({error}); remove it or fetch it again") from None
