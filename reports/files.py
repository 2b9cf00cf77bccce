"""Files that appear whole or not at all, and JSON of anybody's, read with care."""

import hashlib
import json
import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

from reports.wording import clean

LARGEST = 16 * 2**20
"""Bytes of a JSON file that is read; a results file of 1,000 classes and 20 attacks has a tenth of it."""


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside its place, then rename it there; folders are made as needed.

    Raises:
        OSError: with the file's name, where that cannot be; what was there before is as it was.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:  # of a full disk, it does not say where
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size)


@cache
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ReportError(ValueError):
    """A folder that is no run, a file that cannot be read or written; the message says which, and what to do."""

    one_line = True  # what `cli.main` goes by


def read_json(path: Path) -> Any:
    """What a JSON file holds, in any of JSON's encodings; its texts printable, see `clean`.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is no regular file, larger than `LARGEST`, no JSON, nested deeply, or a key stands twice; the
            message says why, and not which file.
        OSError: if it cannot be read.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # else a pipe would be waited for
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("it is no regular file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
    try:
        return clean(json.loads(content, object_pairs_hook=_once))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; that a key stands twice would else be silent, and the first value lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found
