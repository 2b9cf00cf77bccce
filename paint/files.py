"""A person's files to paint on: pictures, and what is matched to them by name."""

import difflib
import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from callbacks.synthesis.masks import read_mask
from datamodules.files import UNREADABLE, files_below
from datamodules.images import DataError, check_labels, image_endings, read_image, read_label_map, upright_size
from datamodules.transforms import Resize
from reports.files import digest, read_json

Side = tuple[int, int]


@dataclass(frozen=True)
class Picture:
    """A picture to paint on: its name below the folder without its ending, its file, its height and width upright.

    What belongs to it are files, but for a label, which may be the class itself.
    """

    name: str
    path: Path
    size: Side
    mask: Path | None = None
    label: Path | int | str | None = None
    other: Path | None = None

    def sources(self) -> dict[str, str | int]:
        """What its paintings depend on: the files' SHA-256, and the class."""
        found = {"image": self.path, "mask": self.mask, "label": self.label, "other": self.other}
        return {
            key: digest(value) if isinstance(value, Path) else value
            for key, value in found.items()
            if value is not None
        }


@dataclass
class Sample:
    """A picture that was read.

    `stored` is uint8 `(3, H, W)`, the mask bool `(1, H, W)`; `tensors` are what a batch has of it, at the working size.
    """

    picture: Picture
    stored: Tensor
    mask: Tensor | None
    tensors: dict[str, Tensor]


def pictures_in(images: Path, out: Path | None = None) -> tuple[list[Picture], dict[str, str]]:
    """The pictures of a folder and those below, or that of a file, by name; and why others are none, by name.

    Args:
        images: the folder or the file.
        out: a folder that is left out.

    Raises:
        DataError: if there are none, or two have one name but for their endings, or that is the folder of the results.
    """
    if out is not None and out.resolve() == images.resolve():
        raise DataError(f"--out {out}: these are the pictures; name another folder")
    found = _by_name(images, {*image_endings(), *UNREADABLE}, out)
    if not found:
        raise DataError(f"--images {images}: {'no pictures in it' if images.is_dir() else 'no such file or folder'}")
    pictures, skipped = [], {}
    for name, path in found.items():
        try:
            pictures.append(Picture(name, path, upright_size(path)))
        except (DataError, OSError) as error:
            skipped[name] = why(error)
    return pictures, skipped


def with_files(pictures: list[Picture], skipped: dict[str, str], kind: str, given: Path) -> list[Picture]:
    """The pictures with a file of another folder for each, of its name; or with one file for all.

    Args:
        pictures: those in question.
        skipped: those that have none are added.
        kind: `mask`, `label` or `other`; the option is its plural.
        given: what the option says.

    Raises:
        DataError: if no picture has one.
    """
    endings = {*image_endings(), ".npy"} if kind == "label" else image_endings()
    found = _by_name(given, endings)
    option = f"--{kind}s {given}"
    if not found:
        raise DataError(f"{option}: {'no pictures in it' if given.is_dir() else 'no such file or folder'}")
    if not given.is_dir():
        return [_with(picture, kind, given) for picture in pictures]
    matched = [_with(picture, kind, found[picture.name]) for picture in pictures if picture.name in found]
    if not matched and pictures:
        raise DataError(f"{option}: none is of a picture's name; a {kind} of {pictures[0].name} is called like it")
    for picture in pictures:
        if picture.name not in found:
            skipped[picture.name] = f"{picture.path}: no {kind} of its name in {given}"
    return matched


def with_classes(pictures: list[Picture], skipped: dict[str, str], given: Path) -> list[Picture]:
    """The pictures with their classes, by a JSON file `{picture: class}` as `predict` writes it.

    A picture goes by its path, by its path below the folder of images, or by that without its ending.

    Raises:
        DataError: if there is no such file, or it names none of the pictures.
    """
    try:
        content = read_json(given)
    except FileNotFoundError:
        raise DataError(f"--labels {given}: no such file or folder") from None
    except (OSError, ValueError) as error:
        raise DataError(f"--labels {given}: no JSON of classes ({error})") from None
    if not isinstance(content, dict) or not all(_is_class(value) for value in content.values()):
        raise DataError(f'--labels {given}: classes are {{"picture": "class"}}, as `predict` writes classes.json')
    classes = {os.path.abspath(key): value for key, value in content.items()} | content
    matched = []
    for picture in pictures:
        keys = (os.path.abspath(picture.path), picture.name + picture.path.suffix, picture.name)
        label = next((classes[key] for key in keys if key in classes), None)
        if label is None:
            skipped[picture.name] = f"{picture.path}: {given} names no class for it"
        else:
            matched.append(replace(picture, label=label))
    if not matched and pictures:
        raise DataError(f"--labels {given}: names none of the pictures, such as {pictures[0].name}")
    return matched


def with_next(pictures: list[Picture]) -> list[Picture]:
    """The pictures, each with the next one as the other; raises DataError where there is only one."""
    if len(pictures) < 2:
        raise DataError("--images: pairs are painted; give another picture, or --others")
    return [
        replace(picture, other=pictures[(place + 1) % len(pictures)].path) for place, picture in enumerate(pictures)
    ]


def read_sample(picture: Picture, size: Side, seed: int, classes: list[str], outputs: int) -> Sample:
    """Read a picture and what belongs to it.

    Args:
        picture: which.
        size: height and width that the network gets.
        seed: with the picture's name makes its `index`, so that its noise does not depend on what else is painted.
        classes: the names of the network's classes, if they are known.
        outputs: how many there are.

    Raises:
        DataError: if a file is broken, or does not fit the picture. Other errors of reading are ValueError and OSError.
    """
    stored = read_image(picture.path, upright=True).as_subclass(Tensor)
    tensors = {"image": Resize(size).image(stored), "index": torch.tensor(_index(picture.name, seed))}
    mask = None
    if picture.mask is not None:
        mask = _mask(picture)
        tensors["mask"] = F.adaptive_max_pool2d(mask.float(), size).bool()  # every pixel of it, however thin
    if isinstance(picture.label, Path):
        tensors["label"] = _label_map(picture, picture.label, stored, size, outputs)
    elif picture.label is not None:
        tensors["label"] = torch.tensor(class_number(picture.label, classes, outputs))
    if picture.other is not None:
        tensors["other"] = _covering(read_image(picture.other, upright=True).as_subclass(Tensor), size)
    return Sample(picture, stored, mask, tensors)


def class_number(label: int | str, classes: list[str], outputs: int) -> int:
    """The number of a class; raises DataError if there is none of that name or number."""
    if isinstance(label, int):
        if not 0 <= label < outputs:
            raise DataError(f"--labels: no class {label}; they are 0 to {outputs - 1}")
        return label
    if label not in classes:
        close = difflib.get_close_matches(label, classes, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"there are {', '.join(classes[:12])}"
        remedy = remedy if classes else "the names of this network's classes are not known: give numbers"
        raise DataError(f"--labels: no class {label!r}; {remedy}")
    return classes.index(label)


def why(error: Exception) -> str:
    """What an error says, on one line; of a file, which one it is."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}"
    return " ".join(str(error).split())


def _by_name(given: Path, endings: Collection[str], out: Path | None = None) -> dict[str, Path]:
    """Files by their path below a folder, without its ending, in order; a file alone by its name."""
    if not given.is_dir():
        return {given.stem: given} if given.exists() else {}
    left_out = None if out is None else out.resolve()
    found: dict[str, Path] = {}
    for below in files_below(given, endings):
        path, name = given / below, os.path.splitext(below)[0]
        if left_out is not None and left_out in path.resolve().parents:
            continue
        if name in found:
            known = [each for each in (found[name], path) if each.suffix.lower() not in UNREADABLE]
            if len(known) == 2:
                raise DataError(f"{found[name]} and {path.name}: two files of one name; keep one, or rename it")
            path = (known or [path])[0]
        found[name] = path
    return found


def _with(picture: Picture, kind: str, path: Path) -> Picture:
    belonging: dict[str, Any] = {kind: path}
    return replace(picture, **belonging)


def _is_class(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _index(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()[:7])


def _mask(picture: Picture) -> Tensor:
    """Bool `(1, H, W)`, of the picture's size."""
    assert picture.mask is not None
    _check_size(picture, picture.mask, "mask")
    mask = read_mask(picture.mask)
    if mask.shape[1:] != picture.size:
        raise DataError(f"{picture.mask}: the mask is turned by an EXIF tag; save it as PNG")
    return mask


def _label_map(picture: Picture, path: Path, stored: Tensor, size: Side, outputs: int) -> Tensor:
    _check_size(picture, path, "label map")
    label = read_label_map(path, upright=True)
    check_labels(label, outputs, path)
    return Resize(size)(stored, torch.from_numpy(label.astype(np.uint8)))[1].long()


def _check_size(picture: Picture, path: Path, what: str) -> None:
    size = upright_size(path)
    if size != picture.size:
        sizes = f"{size[0]} x {size[1]} pixels, and its picture {picture.path} {picture.size[0]} x {picture.size[1]}"
        raise DataError(f"{path}: the {what} is {sizes}; make them one size")


def _covering(image: Tensor, size: Side) -> Tensor:
    """An image scaled so that it covers a size, and its middle cut out."""
    height, width = image.shape[-2:]
    scale = max(size[0] / height, size[1] / width)
    whole = [max(size[0], round(height * scale)), max(size[1], round(width * scale))]
    return vision.center_crop(Resize(whole).image(image), list(size))
