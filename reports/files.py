"""Files that appear whole or not at all."""

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any


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
    """A folder that is no run; the message says what is missing."""

    one_line = True  # what `cli.main` goes by


def read_results(run: Path) -> dict[str, Any]:
    """The `results.json` of a run; raises ReportError if there is none or it cannot be read."""
    path = run / "results.json"
    try:
        results = json.loads(path.read_text())
    except FileNotFoundError:
        raise ReportError(f"{path}: not found; a run writes it at the end of fit, validate or test") from None
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: no results file ({error}); name a run's folder") from None
    metrics = results.get("metrics") if isinstance(results, dict) else None
    if not isinstance(metrics, dict) or not all(isinstance(values, dict) for values in metrics.values()):
        raise ReportError(f"{path}: no results file (it has no metrics); name a run's folder")
    return results
