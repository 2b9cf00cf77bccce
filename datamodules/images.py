"""Image and label files, read whole or refused by name."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import numpy as np
import torch
from PIL import Image, ImageOps
from scipy.io import loadmat
from torchvision import tv_tensors

IGNORE_INDEX = 255


class DataError(ValueError):
    """Data that is missing, broken or of another layout; the message names the file and the remedy."""


class Paths(Sequence[Path]):
    """Files below a folder, in one array: workers share it with their parent, where a list would be copied bit by bit.

    Args:
        root: the folder.
        names: paths below it.
    """

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root = root
        self.names = np.array([os.fsencode(name) for name in names], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> "Paths": ...
    def __getitem__(self, index: int | slice) -> "Path | Paths":
        if isinstance(index, slice):
            return Paths(self.root, [os.fsdecode(name) for name in self.names[index]])
        return self.root / os.fsdecode(self.names[index])

    def require(self, remedy: str) -> "Paths":
        """Returns itself; raises DataError with the remedy if there are no files, or some are absent."""
        if not len(self):
            raise DataError(f"{self.root}: no images to use; {remedy}")
        names = [os.fsdecode(name) for name in self.names]
        folders = {os.path.dirname(name) for name in names}
        present = {os.path.join(folder, name) for folder in folders for name in _names_in(self.root / folder)}
        absent = [name for name in names if name not in present]
        if absent:
            where = self.root / absent[0]
            raise DataError(f"{where}: listed but absent ({len(absent)} of {len(names)} images); {remedy}")
        return self


def _names_in(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def read_image(path: Path, upright: bool = False) -> tv_tensors.Image:
    """An image as uint8 `(3, H, W)`; grey and CMYK files become RGB.

    Args:
        path: the file.
        upright: turn it as its EXIF tag says, as every viewer does. Published data sets count pixels as they are
            stored, and so do torchvision's references: theirs stay as they are.
    """
    image = _open(path)
    if image.mode.startswith(("I", "F")) or _png_bits(image, path) > 8:
        raise DataError(f"{path}: an image of more than 8 bits a channel; convert it to 8 bits")
    image = ImageOps.exif_transpose(image) if upright else image
    if "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns
    return tv_tensors.Image(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))


def _png_bits(image: Image.Image, path: Path) -> int:
    """Bits a channel, of a PNG: Pillow opens colours of 16 as if they were of 8. Of other files 8."""
    if image.format != "PNG":
        return 8
    with path.open("rb") as file:
        return file.read(25)[24]  # the ninth byte of the header's chunk, which is always the first


def read_label_map(path: Path) -> np.ndarray:
    """The values of a single-channel or palette image as stored, `(H, W)`, or of a `.mat` file of SBD."""
    label = _read_sbd(path) if path.suffix == ".mat" else np.asarray(_open(path))
    if label.ndim != 2 or label.dtype.kind not in "iu":
        raise DataError(f"{path}: a label map has one channel of class indices, this is {label.shape} {label.dtype}")
    return label


def _read_sbd(path: Path) -> np.ndarray:
    with reading(path), path.open("rb") as file:
        return loadmat(file)["GTcls"]["Segmentation"][0, 0]


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as first:
            image = first
            if first.format == "PNG":
                first.verify()  # the checksums, which decoding leaves aside; afterwards the file must be opened again
                image = Image.open(path)
            image.load()
            return image
    except FileNotFoundError:
        raise DataError(f"{path}: no such image; is the data set complete?") from None
    except Exception as error:  # each format's reader has errors of its own
        raise DataError(f"{path}: corrupt or truncated image ({error}); fetch it again or remove it") from None


def check_labels(label: np.ndarray, num_classes: int, path: Path) -> None:
    """Raises DataError if a label is neither a class nor void."""
    wrong = label[(label != IGNORE_INDEX) & ((label < 0) | (label >= num_classes))]
    if wrong.size:
        raise DataError(
            f"{path}: the label map has label {int(wrong[0])} outside the {num_classes} classes 0..{num_classes - 1}; "
            f"map it to a class or to {IGNORE_INDEX} (void)"
        )


def files_by_stem(folder: Path) -> dict[str, Path]:
    """The files of a folder by stem, in order, hidden ones left out; raises DataError if there are none."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found: dict[str, Path] = {}
    for path in files:
        if not path.is_dir() and not path.name.startswith("."):  # a link to nowhere is a file that is missed
            if path.stem in found:
                raise DataError(f"{found[path.stem]} and {path.name}: two files of one name; keep one")
            found[path.stem] = path
    if not found:
        raise DataError(f"{folder}: no such folder, or no files in it")
    return found


@contextmanager
def reading(path: Path, remedy: str = "fetch it again") -> Iterator[None]:
    """Turns whatever goes wrong while a file is read into a DataError that names it. A pipe, too: it may not end."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path}: no file, but a pipe or a device; put a file there")
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{error.filename or path}: not found; is the data set complete?") from None
    except Exception as error:  # each format's reader has errors of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: broken, or of another format ({reason}); {remedy}") from None


def image_endings() -> set[str]:
    """The endings, such as `.jpg`, of the kinds of image that can be read."""
    return {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
