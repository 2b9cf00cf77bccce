"""Many files below one folder."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from datamodules.images import DataError


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
