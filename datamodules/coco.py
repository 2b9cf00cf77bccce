"""COCO 2017 with the 21 classes of PASCAL VOC, and what annotation tools export in COCO's format."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datamodules.base import SegmentationDataModule, Split, check_range, held_out
from datamodules.cache import cache_folder, digest, keep
from datamodules.coco_annotations import LAYOUT, Annotations, read_annotations
from datamodules.coco_exports import Boxes, export, image_size
from datamodules.coco_records import COCOS_OWN
from datamodules.coco_segmentations import RecordError
from datamodules.images import IGNORE_INDEX, DataError, reading
from datamodules.paths import Paths
from datamodules.plain_png import plain_png, read_plain_png
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

    With `classes` it reads what annotation tools export in COCO's format, in any layout of files. Roboflow's:
    `annotations: "{split}/_annotations.coco.json"`, `images: "{split}"`, `val: valid`. CVAT's:
    `annotations: "annotations/instances_{split}.json"`, `images: "images/{split}"`. Label Studio's, one file:
    `annotations: result.json`, `images: .`, `holdout: 0.2`. Photographs are turned as their EXIF tags say, as these
    tools show them.

    Args:
        classes: names of the classes, in label order: `background`, what no annotation covers, and then categories of
            the annotation file; others of its categories are background, too. By default VOC's.
        annotations: annotation file of a split below root, `{split}` being one of the names below.
        images: folder of a split's images below root, likewise, to which the file's names of images are added.
        train: name of the training split.
        val: name of the validation split.
        test: name of the test split; by default the validation split's.
        holdout: share of the training images to validate and test on instead, for data without other splits; they are
            spread evenly.
        min_area: training leaves out images whose annotations of the classes have no larger area in total, in pixels;
            by default 1000, as torchvision's reference, and with `classes` none is left out.
        boxes: what becomes of annotations that have a box and no segmentation, with `classes`: `paint` the box, or
            `skip` it; by default they are refused.
        overlaps: what a pixel is that several annotations cover: `void`, or of the class of the `last` one in the file.
        cache: folder of the cache; by default `root/.saddle`, or the user's cache folder if that cannot be written.
    """

    classes: tuple[str, ...] = CLASSES
    several_sizes = True

    def __init__(
        self,
        root: str,
        classes: list[str] | None = None,
        annotations: str = "annotations/instances_{split}2017.json",
        images: str = "{split}2017",
        train: str = "train",
        val: str = "val",
        test: str | None = None,
        holdout: float = 0.0,
        min_area: float | None = None,
        boxes: Boxes | None = None,
        overlaps: Literal["void", "last"] = "void",
        cache: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.several_sizes = classes is None
        super().__init__(root, **kwargs)
        check_range("holdout", holdout, 0, 0.5)
        check_range("min_area", min_area, 0)
        self.own = classes is not None
        if classes is not None:
            self.classes = tuple(_checked(classes))
        elif boxes is not None:
            raise DataError("--data.boxes is for annotations of classes of one's own; set --data.classes, too")
        self.annotations, self.images, self.holdout = annotations, images, holdout
        self.splits = {"train": train, "val": val, "test": test or val}
        self.min_area = MIN_TRAIN_AREA if min_area is None and not self.own else min_area
        self.boxes, self.overlaps, self.cache = boxes, overlaps, cache

    def make_set(self, split: Split) -> LabelledImages:
        path, folder = self._places(split)
        if split == "train" and not self.holdout and self._places("val")[0] == path:
            raise DataError(
                f"{path}: training and validation on the same images; write {{split}} into --data.annotations and name "
                "the splits, or set --data.holdout"
            )
        if not path.is_file():
            raise DataError(f"{path}: not found; {self._expected()}")
        with reading(path):
            content = digest(path)
        cache = cache_folder(self.root, self._cache_name(folder, content), self.cache)
        names = CATEGORIES if not self.own else self.classes[1:]
        dialect = export(names, folder, self.boxes) if self.own else COCOS_OWN
        labels = {name: label for label, name in enumerate(names, start=1)}
        annotations = read_annotations(path, labels, cache, dialect)
        chosen = self._chosen(annotations, split, path)
        remedy = f"unpack {folder.name}.zip" if not self.own else "put them there, or set --data.images to their folder"
        images = Paths(folder, [annotations.names[i].decode() for i in chosen]).require(remedy)
        if self.own and split == "train" and not self.holdout:
            self._refuse_held_out(images)
        read_label = KeptLabels(annotations, chosen, images, cache, self.overlaps == "last", upright=self.own)
        return LabelledImages(images, read_label, len(self.classes), self.transform(split), upright=self.own)

    def _refuse_held_out(self, images: Paths) -> None:
        """Raises DataError if training images are validated on, too."""
        try:
            held_out = {os.path.realpath(path) for path in self.make_set("val").images}
        except DataError:  # told when validation is set up; training alone can do without
            return
        both = [path for path in images if os.path.realpath(path) in held_out]
        if both:
            where = self._places("val")[0]
            raise DataError(
                f"{both[0]}: training and validation on the same images ({len(both)} of {len(images)} are in {where}, "
                "too); take them out of one"
            )

    def _places(self, split: Split) -> tuple[Path, Path]:
        """The annotation file of a split, and the folder of its images."""
        name = self.splits["train" if self.holdout else split]
        path, folder = (self.root / pattern.replace("{split}", name) for pattern in (self.annotations, self.images))
        return path, folder

    def _expected(self) -> str:
        if self.own:
            return "set --data.annotations, and --data.images, to where the export has them"
        return f"{self.root} should hold annotations/, train2017/ and val2017/ of COCO 2017"

    def _cache_name(self, folder: Path, content: str) -> str:
        """The name of the cache of an annotation file's content."""
        if not self.own:
            return f"coco_{folder.name}_{content}_{LAYOUT}"
        options = repr((os.path.relpath(folder, self.root), self.classes, self.boxes))
        return f"coco_{hashlib.sha256(options.encode()).hexdigest()[:8]}_{content}_{LAYOUT}"

    def _chosen(self, annotations: Annotations, split: Split, path: Path) -> np.ndarray:
        """The places of a split's images among those of its annotation file."""
        number = len(annotations.ids)
        all_of_it = [i for i in range(number) if not self.holdout or held_out(i, self.holdout) == (split != "train")]
        chosen = np.array(all_of_it, dtype=np.int64)
        if not len(chosen):
            raise DataError(f"{path}: {number} images are too few for this split; raise --data.holdout or add images")
        if split == "train" and self.min_area is not None:
            chosen = chosen[annotations.areas[chosen] > self.min_area]
            if not len(chosen):
                which = "its classes" if self.own else "the VOC classes"
                what = f"no image has annotations of {which} of more than {self.min_area:g} pixels in total"
                raise DataError(f"{path}: {what}; lower --data.min_area")
        return chosen


def _checked(classes: list[str]) -> list[str]:
    if not classes or classes[0].strip("_ ").lower() != "background":
        raise DataError(
            f"--data.classes {classes}: must begin with background, the class of what no annotation covers, before the "
            "names of categories"
        )
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise DataError(f"--data.classes {classes}: must name one category or more, each once, after background")
    if len(classes) > IGNORE_INDEX:
        raise DataError(f"--data.classes: {len(classes)} classes; a label map holds at most {IGNORE_INDEX}")
    return classes


class KeptLabels:
    """Draws the label map of a chosen image, or reads the one drawn before.

    Args:
        annotations: what to draw.
        chosen: places of the chosen images among all of them.
        images: the chosen images.
        folder: where drawn label maps are kept, one PNG an image.
        last: whether overlaps have the label of the last instance; else they are void.
        upright: whether images are turned as their EXIF tags say.
    """

    def __init__(
        self, annotations: Annotations, chosen: np.ndarray, images: Paths, folder: Path, last: bool, upright: bool
    ) -> None:
        self.annotations, self.chosen, self.images, self.last = annotations, chosen, images, last
        self.upright = upright
        self.folder = folder / ("labels_last" if last else "labels")

    def __call__(self, index: int) -> np.ndarray:
        i = int(self.chosen[index])
        path = self.folder / f"{self.annotations.ids[i]:012}.png"
        height, width = self.annotations.sizes[i].tolist()
        with suppress(OSError, ValueError):  # not there yet, or damaged
            return read_plain_png(path.read_bytes(), height, width)
        self._check_size(self.images[index], (height, width))
        label = self.annotations.label_map(i, last=self.last)
        keep(plain_png(label), path)
        return label

    def _check_size(self, image: Path, size: tuple[int, int]) -> None:
        """A label map that was drawn for another size is no label map of the image."""
        try:
            found = image_size(image, self.upright)
        except RecordError:
            return  # whoever reads it tells why it cannot be read
        if found != size:
            turned = ", as viewers turn it" if self.upright else ""
            raise DataError(
                f"{image}: {found} pixels{turned}, but {size} in the annotation file; put the image there that was "
                "annotated, or annotate this one again"
            )
