"""Which files of a person's folders are images, and which label map belongs to which."""

import os
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from datamodules.images import DataError, image_endings

UNREADABLE = (".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw")
"""Endings of pictures that cannot be read, and must not be passed over as if they were side files."""

SIDE_FOLDERS = ("__MACOSX", "@eaDir")
"""What archives of macOS and network drives put between a person's folders: copies and thumbnails."""


def path_of(text: str) -> Path:
    """A path as a config gives it; `~` is the home folder, as in a shell, which leaves it in `--data.root=~/voc`."""
    return Path(os.path.expanduser(text))  # Path.expanduser() raises where there is no home


def files_below(folder: Path, endings: Collection[str] | None = None) -> list[str]:
    """The files in a folder and those below, as paths below it, in order; hidden ones and side files are left out.

    Args:
        folder: the folder; it need not exist.
        endings: such as `.png`, in lower case; by default those of images.

    Raises:
        DataError: on a picture of a kind that cannot be read, unless one that can has its name.
    """
    wanted = image_endings() if endings is None else endings
    found: list[str] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if name[0] != "." and name not in SIDE_FOLDERS]
        visible = [name for name in names if name[0] != "."]
        chosen = [name for name in visible if os.path.splitext(name)[1].lower() in wanted]
        stems = {os.path.splitext(name)[0] for name in chosen}
        for name in visible:
            stem, ending = os.path.splitext(name)
            if ending.lower() in UNREADABLE and stem not in stems:
                path = os.path.join(place, name)
                raise DataError(f"{path}: a picture of a kind that cannot be read; save it as JPEG or PNG")
        below = os.path.relpath(place, folder)
        found += [os.path.normpath(os.path.join(below, name)) for name in chosen]
    return sorted(found)


def pairs(root: Path, images: str, labels: str) -> list[tuple[Path, Path]]:
    """The images that a pattern means, in order, each with its label map.

    A pattern is a folder below `root`, and means the files in it and below, named by their path without its ending. Or
    it holds `*`, which stands for any part of a path, folders included; then what the `*` stand for is the name. An
    image belongs to the label map of its name. Of label maps in a folder, all names may go on after that of the image
    (`_mask`).

    Raises:
        DataError: if there are no images, if one has no label map, or if several would do.
    """
    found = by_name(root, labels, {*image_endings(), ".npy"})
    pictures = by_name(root, images, image_endings(), leave_out={*found.values()})
    for pattern, files in ((images, pictures), (labels, found)):
        if not files:
            if found and images == labels:
                how = "say what the label maps are called, such as --data.labels 'FOLDER/*_mask.png'"
                raise DataError(f"{root / pattern}: images and label maps in one folder; {how}")
            raise DataError(f"{root / pattern}: no such folder, or no files in it that can be read as images")
    suffix = "" if "*" in labels else _suffix(pictures, found, root / labels)
    absent = next((name for name in pictures if name + suffix not in found), None)
    if absent is not None:
        what = f"called {absent}{suffix}" if suffix else "of that name"
        remedy = "add it, or say what they are called, such as --data.labels 'FOLDER/*_mask.png'"
        raise DataError(f"{pictures[absent]}: no label map {what} in {root / labels}; {remedy}")
    return [(path, found[name + suffix]) for name, path in pictures.items()]


def by_name(root: Path, pattern: str, endings: set[str], leave_out: Collection[Path] = ()) -> dict[str, Path]:
    """The files that a pattern means, in order, by name; raises DataError if two have the same."""
    parts = pattern.split("*")
    above, _, parts[0] = parts[0].rpartition("/") if len(parts) > 1 else (parts[0], "", "")
    parts = parts if len(parts) > 1 else ["", ""]
    any_ending = os.path.splitext(f"name{parts[-1]}")[1].lower() not in endings
    expression = re.compile("(.+)".join(map(re.escape, parts)) + (r"\.[^./]+" if any_ending else ""), re.DOTALL)
    found: dict[str, Path] = {}
    for below in files_below(root / above, endings):
        match, path = expression.fullmatch(below), root / above / below
        if match and path not in leave_out:
            name = "/".join(match.groups())
            if name in found:
                raise DataError(f"{found[name]} and {path.name}: two files of one name; keep one")
            found[name] = path
    return found


def _suffix(images: Collection[str], labels: Collection[str], place: Path) -> str:
    """What the label maps' names have more than those of their images."""
    names = set(images)
    if not names.isdisjoint(labels):
        return ""
    cuts = ((label[:end], label[end:]) for label in labels for end in range(1, len(label)))
    counts = Counter(suffix for name, suffix in cuts if name in names and "/" not in suffix)
    most = [suffix for suffix, count in counts.items() if count == max(counts.values())]
    if len(most) > 1:
        which = " and ".join(sorted(most)[:3])
        remedy = f"say which, such as --data.labels 'FOLDER/*{min(most)}.png'"
        raise DataError(f"{place}: label maps that end in {which} fit the images alike; {remedy}")
    return most[0] if most else ""
