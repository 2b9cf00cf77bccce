"""Lists that come with a data set, as text or JSON: read as they are meant, whatever editor they went through."""

import codecs
import json
from collections.abc import Iterable
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import numpy as np

from datamodules.images import DataError, reading


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that hold anything, without the white space around them.

    UTF-8, or what a byte order mark says; line ends of any system.
    """
    with reading(path):
        return [line.strip() for line in _decoded(path.read_bytes()).splitlines() if line.strip()]


def read_words(path: Path) -> list[str]:
    """The words of a text file."""
    return [word for line in read_lines(path) for word in line.split()]


def read_json(path: Path) -> Any:
    """The content of a JSON file, with or without a byte order mark."""
    with reading(path):
        return json.loads(path.read_bytes())


def whole_numbers(values: Any) -> np.ndarray:
    """Numbers of any type as int64; raises ValueError if some are not whole."""
    numbers = np.asarray(values)
    if numbers.dtype.kind == "f" and np.isfinite(numbers).all() and (numbers == numbers.round()).all():
        return numbers.astype(np.int64)
    if numbers.dtype.kind not in "iu":
        raise ValueError(f"no whole numbers, but {numbers.dtype}")
    return numbers.astype(np.int64)


def check_inside(names: Iterable[str], path: Path) -> None:
    """Raises DataError if one of the files that a list names would lie outside of their folder.

    Args:
        names: paths below the folder.
        path: the list.
    """
    for name in names:
        if leaves(name):
            raise DataError(f"{path}: it names {name!r:.80}, outside of the folder of images; correct the list")


def leaves(name: str) -> bool:
    """Whether a path, of any system, is absolute or leads up and out of its folder."""
    if name[:1] not in ("/", "\\") and ".." not in name and ":" not in name:
        return False  # what nearly all are
    return any(path.root or ".." in path.parts for path in (PurePath(name), PureWindowsPath(name)))


def _decoded(content: bytes) -> str:
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig")
