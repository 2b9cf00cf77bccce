"""COCO's annotations as a few arrays: kept in files, drawn into label maps."""

import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from filelock import Timeout as LockTimeout
from pycocotools import mask

from datamodules.cache import keep
from datamodules.coco_records import COCOS_OWN, Dialect, read_records
from datamodules.coco_segmentations import encoded
from datamodules.images import IGNORE_INDEX

LAYOUT = "v2"
"""Part of a cache's name; change it with what is kept."""


@dataclass(frozen=True)
class Annotations:
    """The images of an annotation file, and the instances of some of its categories, in a few arrays.

    Lists of records would take gigabytes, and every worker process would end up with a copy of its own. The arrays lie
    in files that processes share.
    """

    ids: np.ndarray
    """Ids of the images, ascending, `(N,)`."""
    names: np.ndarray
    """Their file names, UTF-8, `(N,)`."""
    sizes: np.ndarray
    """Their heights and widths, `(N, 2)`."""
    areas: np.ndarray
    """The stored area of their instances, in total, in pixels, `(N,)`."""
    order: np.ndarray
    """The instances, which are in the file's order, by their images, `(M,)`."""
    first: np.ndarray
    """Image i has the instances `order[first[i]]` to `order[first[i + 1] - 1]`, `(N + 1,)`."""
    labels: np.ndarray
    """The label of each instance, `(M,)`."""
    run_lengths: np.ndarray
    """Whether an instance is run lengths, in one piece, and not polygons, `(M,)`."""
    first_piece: np.ndarray
    """Instance j has the pieces `first_piece[j]` to `first_piece[j + 1]`, `(M + 1,)`."""
    first_number: np.ndarray
    """Piece k has the numbers `first_number[k]` to `first_number[k + 1]`, `(K + 1,)`."""
    numbers: np.ndarray
    """Coordinates x, y, x, y, ... of polygons, and run lengths, float64."""

    def label_map(self, i: int, last: bool = False) -> np.ndarray:
        """The label map of the i-th image: uint8 `(H, W)`, 0 where there is no instance.

        Args:
            i: the image's place.
            last: whether a pixel that several instances cover has the label of the last one; else it is 255.
        """
        label = np.zeros(self.sizes[i], dtype=np.uint8)
        covered, overlap = np.zeros(label.shape, dtype=bool), np.zeros(label.shape, dtype=bool)
        for j in self.order[self.first[i] : self.first[i + 1]]:
            pieces = [
                self.numbers[self.first_number[k] : self.first_number[k + 1]].tolist()
                for k in range(self.first_piece[j], self.first_piece[j + 1])
            ]
            if pieces:
                inside = mask.decode(encoded(pieces, label.shape[0], label.shape[1], bool(self.run_lengths[j]))).astype(
                    bool
                )
                label[inside] = self.labels[j]
                overlap |= covered & inside
                covered |= inside
        if not last:
            label[overlap] = IGNORE_INDEX
        return label

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is the place of its files, as long as they are there: a worker opens them for itself."""
        file = getattr(self.numbers, "filename", None)
        if file is not None and Path(file).is_file():
            return _load, (Path(file).parent,)
        return Annotations, tuple(np.asarray(getattr(self, field.name)) for field in fields(self))


def read_annotations(
    path: Path, categories: Mapping[str, int], cache: Path, dialect: Dialect = COCOS_OWN
) -> Annotations:
    """Read an annotation file, or what was kept of it.

    Args:
        path: the file, of COCO's format for instances.
        categories: labels by name of category; all others are left out.
        cache: folder of this file's content, where the arrays are kept. One process reads while others wait.
        dialect: how the file differs from COCO's own.

    Raises:
        DataError: on a file of another format, and on records that contradict each other.
    """
    kept = cache / "annotations"
    with suppress(Exception):  # not there yet, or broken: NumPy tells that in several ways
        return _whole(kept)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "lock", timeout=600):
            with suppress(Exception):  # another process was first
                return _whole(kept)
            annotations = Annotations(**read_records(path, categories, dialect))
            return _load(kept) if _save(annotations, kept) else annotations
    except (OSError, LockTimeout):  # no place to keep anything
        return Annotations(**read_records(path, categories, dialect))


def _save(annotations: Annotations, folder: Path) -> bool:
    for field in fields(annotations):
        if not keep(getattr(annotations, field.name), folder / f"{field.name}.npy"):
            return False
    return keep(_checksum(annotations), folder / "checksum")


def _whole(folder: Path) -> Annotations:
    """What was kept, after a look at all of it; raises ValueError if it was damaged, as by a loss of power."""
    annotations = _load(folder)
    if (folder / "checksum").read_bytes() != _checksum(annotations):
        raise ValueError(f"{folder}: damaged")
    return annotations


def _checksum(annotations: Annotations) -> bytes:
    crc = 0
    for field in fields(annotations):
        crc = zlib.crc32(np.ascontiguousarray(getattr(annotations, field.name)).data, crc)
    return f"{crc:08x}".encode()


def _load(folder: Path) -> Annotations:
    return Annotations(*(np.load(folder / f"{field.name}.npy", mmap_mode="r") for field in fields(Annotations)))
