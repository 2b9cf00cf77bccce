"""Any data set of images and label maps, such as CamVid, Cityscapes, ADE20K or a user's own."""

import os
from pathlib import Path
from typing import Any

from datamodules.base import SegmentationDataModule, Split, check_named
from datamodules.class_check import check_classes
from datamodules.files import pairs
from datamodules.images import DataError, upright_size
from datamodules.label_values import LabelValues
from datamodules.samples import LabelFiles, LabelledImages


class SegmentationFolder(SegmentationDataModule):
    """Images and label maps, paired by name.

    A label map is a PNG (or another kind of image without loss, or a `.npy` file) that holds a class index for each
    pixel, 255 being void: grey of any bits, one bit, a palette's indices, or equal channels. For other values, and for
    colours, see `values`. Files of other kinds are passed over. Images and label maps are turned as their EXIF tags
    say, as every viewer does.

    `images` and `labels` say where the files are, below root: a folder, with those below it; or a pattern whose `*`
    stand for the name by which an image and its label map are paired, folders included. Label maps in a folder are
    called like their images, or have something more at the end of their names (`_mask`). For Cityscapes that is
    `images: "leftImg8bit/{split}/*_leftImg8bit.png"` with `labels: "gtFine/{split}/*_gtFine_labelIds.png"`, for ADE20K
    `images/{split}` and `annotations/{split}` with `train: training`, `val: validation` and `test: validation`.

    Args:
        root: the folder that the patterns below start from.
        classes: names of the classes, in label order; by default those in `values`, in their order.
        images: where a split's images are, `{split}` being one of the names below.
        labels: where its label maps are, likewise.
        void: values of the label maps to leave out of every loss and metric, besides 255.
        values: the class of each value in the label maps, such as `{0: background, 255: object}`, or of each colour,
            such as `{"0,0,0": null, "128,0,0": road, "#008000": tree}`; null is void, and `other` stands for all that
            are not named, but for the value 255: that is void unless it is named itself. A palette is read as indices
            or as colours, whichever is named.
        train: what `{split}` is for training.
        val: what it is for validation.
        test: what it is for the test.
    """

    own_files = True

    def __init__(
        self,
        root: str,
        classes: list[str] | None = None,
        images: str = "images/{split}",
        labels: str = "labels/{split}",
        void: list[int] | None = None,
        values: dict[str | int, str | None] | None = None,
        train: str = "train",
        val: str = "val",
        test: str = "test",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        if classes is None:
            classes = list(dict.fromkeys(name for name in (values or {}).values() if name is not None))
        if not classes:
            raise DataError("--data.classes: no classes; name them there, or in --data.values")
        self.classes = tuple(classes)
        self.values = LabelValues(classes, values, void or [])
        check_named(images=images, labels=labels, train=train, val=val, test=test)
        self.images, self.labels = images, labels
        self.splits = {"train": train, "val": val, "test": test}

    def make_set(self, split: Split) -> LabelledImages:
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set --data.root to the data set")
        found = self._pairs(split)
        for image, label in found:
            if (size := upright_size(image)) != (label_size := upright_size(label)):
                raise DataError(f"{image} is {size} pixels, its label map {label} {label_size}; give both one size")
        if split == "train":
            self._refuse_held_out(found)
        images, labels = ([pair[i] for pair in found] for i in (0, 1))
        read_label = LabelFiles(labels, self.values, upright=True)
        data = LabelledImages(images, read_label, len(self.classes), self.transform(split), upright=True)
        check_classes(data, self.classes, split, own_files=True)
        return data

    def _pairs(self, split: Split) -> list[tuple[Path, Path]]:
        return pairs(self.root, *(text.replace("{split}", self.splits[split]) for text in (self.images, self.labels)))

    def _refuse_held_out(self, found: list[tuple[Path, Path]]) -> None:
        """Raises DataError if training images are validated on, too, under whatever name."""
        try:
            held_out = {os.path.realpath(image) for image, _ in self._pairs("val")}
        except DataError:  # told when validation is set up; training alone can do without
            return
        both = [image for image, _ in found if os.path.realpath(image) in held_out]
        if both:
            raise DataError(
                f"{both[0]}: training and validation on the same images ({len(both)} of {len(found)}); give each split "
                "images of its own, and write {split} where their folders differ, or set --data.train and --data.val"
            )
