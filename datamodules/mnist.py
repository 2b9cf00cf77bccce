"""MNIST, handwritten digits."""

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import Split
from datamodules.images import DataError, reading
from datamodules.small_images import SmallImages

DIGITS = tuple("0123456789")


class MNIST(SmallImages):
    """MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28 pixels, grey as three channels.

    By default resized to the 32 pixels of SVHN, so that a network trained on one can be tested on the other.

    `root` holds the idx files `train-images-idx3-ubyte` and so on, itself or in `MNIST/raw/`, packed (`.gz`) or
    unpacked; also as `train-images.idx3-ubyte`, and each in a folder of its name.
    """

    classes = DIGITS

    def __init__(self, root: str, size: int = 32, padding: int = 0, flip: float = 0.0, **kwargs: Any) -> None:
        super().__init__(root, size, padding, flip, **kwargs)

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        which = "train" if split == "train" else "t10k"
        images, labels = self._find(f"{which}-images", 3), self._find(f"{which}-labels", 1)
        return _read_idx(images, 3), _read_idx(labels, 1)

    def _find(self, what: str, axes: int) -> Path:
        name, other = f"{what}-idx{axes}-ubyte", f"{what}.idx{axes}-ubyte"
        for folder in (self.root / "MNIST" / "raw", self.root / "raw", self.root):
            for below in (name, other, f"{name}.gz", f"{other}.gz", f"{name}/{name}", f"{other}/{other}"):
                if (folder / below).is_file():
                    return folder / below
        raise DataError(f"{self.root / name}: not found, here or in MNIST/raw, with .gz or without")


def _read_idx(path: Path, axes: int) -> np.ndarray:
    """The bytes of an idx file of that many axes, packed or not."""
    with reading(path), path.open("rb") as stored:
        packed = stored.read(2) == b"\x1f\x8b"  # by its content: browsers unpack some files without renaming them
        stored.seek(0)
        file = gzip.GzipFile(fileobj=stored) if packed else stored
        header = file.read(4 + 4 * axes)
        if header[:4] != bytes([0, 0, 8, axes]) or len(header) < 4 + 4 * axes:
            raise ValueError(f"no idx file of bytes with {axes} axes")
        shape = struct.unpack(f">{axes}I", header[4:])
        number = math.prod(shape)
        if number > path.stat().st_size * (1100 if packed else 1):  # gzip's best; a false header takes no memory
            raise ValueError(f"it cannot hold the {' x '.join(map(str, shape))} bytes that its header tells of")
        content = file.read(number + 1)
        if len(content) != number:
            raise ValueError(f"it holds {len(content)} bytes or more, its header tells of {number}")
        return np.frombuffer(content, np.uint8).reshape(shape).copy()  # one that can be written to
