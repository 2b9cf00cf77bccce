"""Where what was computed from a data set is kept: beside it, or in the user's cache folder. Deletable at any time."""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from datamodules.files import path_of


def cache_folder(root: Path, name: str, chosen: str | None = None) -> Path:
    """The folder `name` in the cache of the data set at `root`; it need not exist, and perhaps cannot be written.

    Args:
        root: the data set's folder.
        name: what is kept there.
        chosen: a folder of the user's choice for caches; by default `root/.saddle`, if that can be written, else
            `saddle` in the user's cache folder.
    """
    if chosen is not None:
        return path_of(chosen) / name
    beside = root / ".saddle"
    if os.access(beside if beside.is_dir() else root, os.W_OK):
        return beside / name
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
    return user_cache_path("saddle") / f"{root.resolve().name}-{place}" / name


def digest(path: Path) -> str:
    """What tells a file's content from any other: 16 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def keep(content: bytes | np.ndarray, path: Path) -> bool:
    """Write a file that appears whole or not at all, whichever process writes it; returns whether it could be.

    An array is written as NumPy does.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            temporary.write_bytes(content)
        else:
            with temporary.open("wb") as file:
                np.save(file, content)
        os.replace(temporary, path)
    except OSError:  # full, read-only, or deleted under our hands: a cache is never needed
        with suppress(OSError):
            temporary.unlink()
        return False
    return True
