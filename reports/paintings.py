"""What synthesis callbacks left in a run's gallery.

On disk: `<run>/gallery/<task>/<sample>/` holds `original.png`, `label.png` and `start.png`, and of each epoch, counted
from 0, `epoch_0000.png` and, for label maps, what the network sees in that, `prediction_0000.png`; of an evaluation of
a network whose epoch is not known, `painting.png` and `prediction.png`. What belongs to a painting stands beside
it: `bicubic_0000.png`, `most_0000.png`, or the way there, `way_0000.gif` and as a strip `way_0000.png`.
`<run>/gallery/<task>/task.json` says how they were painted, see `Task`; galleries of older versions have none.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reports.files import read_json, write_whole

PNG = b"\x89PNG\r\n\x1a\n"

PLACED = ("original", "label", "start", "epoch", "painting", "prediction")
"""The names of pictures that have their own places."""

LARGEST = 64 * 2**20
"""Bytes of a file that is taken for a picture of a gallery."""


@dataclass
class Seen:
    """What belongs to a sample's pictures.

    `label` is the name of an image-level label, `classes` the indices of those in its label map and in what the network
    saw; `predictions` says, for image-level labels, what the network saw in a painting, by the painting's file name.
    """

    label: str = ""
    classes: list[int] = field(default_factory=list)
    predictions: dict[str, str] = field(default_factory=dict)


@dataclass
class Task:
    """How a task painted: its settings, the names of the classes, what belongs to each sample's pictures, and notes."""

    settings: dict[str, Any] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    samples: dict[str, Seen] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write `task.json` into a task's folder, whole."""
        write_whole(folder / "task.json", json.dumps(asdict(self), indent=1) + "\n")


def read_task(folder: Path) -> Task:
    """The `task.json` of a task's folder; empty where there is none.

    Raises:
        ValueError: if it is not what `Task.write` writes; the message says what is wrong.
        OSError: if it cannot be read.
    """
    try:
        content = read_json(folder / "task.json")
        samples = {name: Seen(**each) for name, each in content["samples"].items()}
        task = Task(content["settings"], content["classes"], samples, content.get("notes", []))
        for seen in task.samples.values():
            _check(isinstance(seen.label, str) and _all(seen.classes, list, int) and _all(seen.predictions, dict, str))
        _check(isinstance(task.settings, dict) and _all(task.classes, list, str) and _all(task.notes, list, str))
    except FileNotFoundError:
        return Task()
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("it is not of this version, or was changed") from error
    return task


def _all(value: Any, container: type, kind: type) -> bool:
    values: Iterable[Any] = value.values() if isinstance(value, dict) else value
    return isinstance(value, container) and all(isinstance(each, kind) for each in values)


def _check(holds: bool) -> None:
    if not holds:
        raise TypeError


def paintings(folder: Path, dated: bool = True) -> list[tuple[str, Path, Path | None]]:
    """Of a sample's folder each painting by its epoch, `epoch 8` being the eighth, with what the network saw in it.

    What is no picture, or has another name than ours, is passed over.

    Args:
        folder: the sample's folder.
        dated: whether the numbers in the names are epochs; in evaluations of older versions they were not.
    """
    found: list[tuple[int, Path]] = []
    for path in folder.glob("*.png"):
        match = re.fullmatch(r"epoch_(\d{4,9})|painting", path.stem, re.ASCII)
        if match and is_picture(path):
            found.append((int(match[1]) + 1 if match[1] else 0, path))
    result = []
    for epoch, path in sorted(found):
        seen = path.with_name(re.sub("epoch|painting", "prediction", path.name))
        caption = f"epoch {epoch}" if epoch and dated else "result"
        result.append((caption, path, seen if is_picture(seen) else None))
    return result


def beside(folder: Path) -> list[tuple[str, Path]]:
    """Of a sample's folder what belongs to its last painting, by kind, such as `bicubic`; of `way` the animation."""
    found: dict[str, tuple[int, bool, Path]] = {}
    for path in [*folder.glob("*.png"), *folder.glob("*.gif")]:
        match = re.fullmatch(r"([a-z]{1,20})(?:_(\d{4,9}))?", path.stem, re.ASCII)
        if match and match[1] not in PLACED and is_picture(path):
            found[match[1]] = max(
                found.get(match[1], (-1, False, path)), (int(match[2] or 0), path.suffix == ".gif", path)
            )
    return [(kind, path) for kind, (_, _, path) in sorted(found.items())]


def is_picture(path: Path) -> bool:
    """Whether a path is a regular file that begins as a PNG does, or a GIF."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return False
        with path.open("rb") as file:
            return file.read(len(PNG)).startswith((PNG, b"GIF89a", b"GIF87a"))
    except OSError:
        return False
