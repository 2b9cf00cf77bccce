"""CUB-200-2011, birds with their boxes."""

from pathlib import Path

import numpy as np

from datamodules.base import Split
from datamodules.images import DataError, reading
from datamodules.lists import check_inside, read_lines
from datamodules.paths import Paths
from datamodules.photographs import Listing, Photographs


class CUB200(Photographs):
    """CUB-200-2011: 5,994 training and 5,794 test images of 200 species of birds, each with the box of its bird.

    `root` holds `CUB_200_2011/` with `images/`, `images.txt`, `image_class_labels.txt`, `train_test_split.txt`,
    `bounding_boxes.txt` and `classes.txt`. A batch has a `box` too: float32 `(B, 4)`, left, top, right and bottom in
    pixels of its images.
    """

    def files(self, split: Split) -> Listing:
        folder = self.root / "CUB_200_2011"
        names = _table(folder / "images.txt")
        labels = _table(folder / "image_class_labels.txt")
        training = _table(folder / "train_test_split.txt")
        boxes = _table(folder / "bounding_boxes.txt", columns=4)
        self.classes = tuple(row[0].partition(".")[2] for row in _table(folder / "classes.txt").values())
        for table, file in ((labels, "image_class_labels"), (training, "train_test_split"), (boxes, "bounding_boxes")):
            absent = [key for key in names if key not in table]
            if absent:
                raise DataError(f"{folder / file}.txt: image {absent[0]} of images.txt is absent; unpack it again")
        strange = next((key for key in names if training[key][0] not in ("0", "1")), None)
        if strange is not None:
            what = f"image {strange} has {training[strange][0]}, neither 0 nor 1"
            raise DataError(f"{folder / 'train_test_split'}.txt: {what}; unpack it again")
        check_inside((row[0] for row in names.values()), folder / "images.txt")
        chosen = [key for key in names if (training[key][0] == "1") == (split == "train")]
        with reading(folder / "bounding_boxes.txt"):
            left, top, width, height = np.array([boxes[key] for key in chosen], dtype=np.float64).reshape(-1, 4).T
        images = Paths(folder / "images", (names[key][0] for key in chosen)).require("unpack the archive again")
        corners = np.stack([left, top, left + width, top + height], axis=1)
        with reading(folder / "image_class_labels.txt"):
            return Listing(images, [int(labels[key][0]) - 1 for key in chosen], corners)


def _table(path: Path, columns: int = 1) -> dict[str, list[str]]:
    """The rows of a text file by their first word."""
    rows = [line.split() for line in read_lines(path)]
    short = next((row for row in rows if len(row) <= columns), None)
    if short:
        raise DataError(f"{path}: a row breaks off ({' '.join(short)}); unpack the archive again")
    return {row[0]: row[1:] for row in rows}
