"""Checkpoints on disk: whole or not there."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place, then renames it there, so that the one before is whole until then.

    Lightning writes to the folder for temporary files, which is often on another disk: then it is copied over the one
    before, and what ends in the middle leaves neither.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Raises OSError, with the file's name, where it cannot be written."""
        target = Path(path)
        unfinished = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
            keep_names(target.parent)
        except (OSError, RuntimeError) as error:  # torch hides the one behind the other
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            raise OSError(cause.errno, cause.strerror or str(cause), str(target)) from error
        finally:
            unfinished.unlink(missing_ok=True)


def keep_names(folder: Path) -> None:
    """Have a folder's renames survive a loss of power, where the file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def keep_as(path: Path, other: Path) -> None:
    """Give a file a second name, in place of what has it, at no cost; where there are no links, by a copy.

    Raises OSError where there is no room for that. A file that is not there has no second name.
    """
    if not path.is_file():
        return
    unfinished = other.with_name(f".{other.name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        try:
            os.link(path, unfinished)
        except OSError:  # not every file system can do that
            shutil.copyfile(path, unfinished)
        unfinished.replace(other)
    finally:
        unfinished.unlink(missing_ok=True)
