"""Pairs of images and label maps, read, checked and made into the samples of a batch."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import Transform
from torchvision.transforms.v2 import functional as F

IGNORE_INDEX = 255


class DataError(ValueError):
    """Data that is missing, broken or of another layout; the message names the file and the remedy."""


def read_image(path: Path) -> tv_tensors.Image:
    """An image as uint8 `(3, H, W)`; grey and CMYK files become RGB."""
    image = _open(path)
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{path}: an image of more than 8 bits a channel ({image.mode}); convert it to 8 bits")
    return tv_tensors.Image(F.pil_to_tensor(image.convert("RGB")))


def read_label_map(path: Path) -> np.ndarray:
    """The values of a single-channel or palette image as stored, `(H, W)`."""
    label = np.asarray(_open(path))
    if label.ndim != 2 or label.dtype.kind not in "iu":
        raise DataError(f"{path}: a label map has one channel of class indices, this is {label.shape} {label.dtype}")
    return label


class LabelFiles:
    """Reads the label map of image i from the i-th of `paths`; the values in `void` become 255."""

    def __init__(self, paths: Sequence[Path], void: Sequence[int] = ()) -> None:
        self.paths, self.void = paths, void

    def __call__(self, index: int) -> np.ndarray:
        label = read_label_map(self.paths[index])
        return np.where(np.isin(label, self.void), IGNORE_INDEX, label)


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image.copy()
    except FileNotFoundError:
        raise DataError(f"{path}: no such image; is the data set complete?") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: corrupt or truncated image ({error}); fetch it again or remove it") from None


class LabelledImages(Dataset[dict[str, Any]]):
    """Images with label maps: samples of `image`, `label`, `index`, and `region`, false on padding.

    Args:
        images: the image files.
        read_label: gives the label map of image i: an integer array `(H, W)`, 255 = void.
        num_classes: labels lie in `[0, num_classes)` or are 255.
        transform: of torchvision's v2, applied to image, label map and region together.
    """

    def __init__(
        self, images: Sequence[Path], read_label: Callable[[int], np.ndarray], num_classes: int, transform: Transform
    ) -> None:
        if num_classes > IGNORE_INDEX:
            raise DataError(f"{num_classes} classes: a label map holds at most {IGNORE_INDEX}, since 255 means void")
        self.images, self.read_label, self.num_classes, self.transform = images, read_label, num_classes, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.images[index]
        image = read_image(path)
        label = self.read_label(index)
        if label.shape != image.shape[-2:]:
            sizes = f"the image is {tuple(image.shape[-2:])} pixels, its label map {label.shape}"
            raise DataError(f"{path}: {sizes}; give both one size")
        check_labels(label, self.num_classes, path)
        sample = self.transform(
            {
                "image": image,
                "label": tv_tensors.Mask(label.astype(np.uint8)),
                "region": tv_tensors.Mask(torch.ones(label.shape, dtype=torch.uint8)),
            }
        )
        region = (sample["region"] == 1).unsqueeze(0)
        return {"image": sample["image"], "label": sample["label"].long(), "region": region, "index": index}


def check_labels(label: np.ndarray, num_classes: int, path: Path) -> None:
    """Raises DataError if a label is neither a class nor void."""
    wrong = label[(label != IGNORE_INDEX) & ((label < 0) | (label >= num_classes))]
    if wrong.size:
        raise DataError(
            f"{path}: the label map has label {int(wrong[0])} outside the {num_classes} classes 0..{num_classes - 1}; "
            f"map it to a class or to {IGNORE_INDEX} (void)"
        )


class UnlabelledImages(Dataset[dict[str, Any]]):
    """The images of a folder and those below, for prediction.

    Samples of `image`, `index`, the file's `path`, its `name` (the path below the folder, without its ending, two of
    which must not be the same) and its `size` (H, W) in pixels.
    """

    def __init__(self, folder: Path, transform: Transform) -> None:
        readable = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
        files = sorted(folder.rglob("*")) if folder.is_dir() else []
        self.images = [path for path in files if path.suffix.lower() in readable and path.name[0] != "."]
        if not self.images:
            raise DataError(f"{folder}: no folder with images to predict")
        self.names = [str(path.relative_to(folder).with_suffix("")) for path in self.images]
        twice = next((name for name, times in Counter(self.names).items() if times > 1), None)
        if twice:
            raise DataError(f"{folder / twice}: two images have this name but for their endings; rename one")
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = read_image(self.images[index])
        size = tuple(image.shape[-2:])
        file = {"path": str(self.images[index]), "name": self.names[index], "size": size}
        return {"image": self.transform(image), "index": index, **file}


def files_by_stem(folder: Path) -> dict[str, Path]:
    """The files of a folder by stem, in order, hidden ones left out; raises DataError if there are none."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found: dict[str, Path] = {}
    for path in files:
        if path.is_file() and not path.name.startswith("."):
            if path.stem in found:
                raise DataError(f"{found[path.stem]} and {path.name}: two files of one name; keep one")
            found[path.stem] = path
    if not found:
        raise DataError(f"{folder}: no such folder, or no files in it")
    return found
