"""COCO's annotation files: read once into arrays, drawn into label maps."""

import gc
import io
import json
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from filelock import Timeout as LockTimeout
from pycocotools import mask

from datamodules.cache import keep
from datamodules.images import IGNORE_INDEX, DataError, reading

LAYOUT = "v1"
"""Part of a cache's name; change it with what is kept."""


@dataclass(frozen=True)
class Annotations:
    """The images of an annotation file, and the instances of some of its categories, in a few arrays.

    Lists of records would take gigabytes, and every worker process would end up with a copy of its own. The arrays lie
    in files that processes share.
    """

    ids: np.ndarray
    """Ids of the images, ascending, `(N,)`."""
    names: np.ndarray
    """Their file names, UTF-8, `(N,)`."""
    sizes: np.ndarray
    """Their heights and widths, `(N, 2)`."""
    areas: np.ndarray
    """The stored area of their instances, in total, in pixels, `(N,)`."""
    first: np.ndarray
    """Image i has the instances `first[i]` to `first[i + 1]`, `(N + 1,)`."""
    labels: np.ndarray
    """The label of each instance, `(M,)`."""
    run_lengths: np.ndarray
    """Whether an instance is run lengths, in one piece, and not polygons, `(M,)`."""
    first_piece: np.ndarray
    """Instance j has the pieces `first_piece[j]` to `first_piece[j + 1]`, `(M + 1,)`."""
    first_number: np.ndarray
    """Piece k has the numbers `first_number[k]` to `first_number[k + 1]`, `(K + 1,)`."""
    numbers: np.ndarray
    """Coordinates x, y, x, y, ... of polygons, and run lengths, float64."""

    def label_map(self, i: int) -> np.ndarray:
        """The label map of the i-th image: uint8 `(H, W)`, 0 where there is no instance, 255 where several overlap."""
        label = np.zeros(self.sizes[i], dtype=np.uint8)
        covered, overlap = np.zeros(label.shape, dtype=bool), np.zeros(label.shape, dtype=bool)
        for j in range(self.first[i], self.first[i + 1]):
            pieces = [
                self.numbers[self.first_number[k] : self.first_number[k + 1]].tolist()
                for k in range(self.first_piece[j], self.first_piece[j + 1])
            ]
            if pieces:
                inside = _mask(pieces, label.shape[0], label.shape[1], bool(self.run_lengths[j]))
                label[inside] = self.labels[j]
                overlap |= covered & inside
                covered |= inside
        label[overlap] = IGNORE_INDEX
        return label

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is the place of its files, as long as they are there: a worker opens them for itself."""
        file = getattr(self.numbers, "filename", None)
        if file is not None and Path(file).is_file():
            return _load, (Path(file).parent,)
        return Annotations, tuple(np.asarray(getattr(self, field.name)) for field in fields(self))


def read_annotations(path: Path, categories: Mapping[str, int], cache: Path) -> Annotations:
    """Read an annotation file, or what was kept of it.

    Args:
        path: the file, of COCO's format for instances.
        categories: labels by name of category; all others are left out.
        cache: folder of this file's content, where the arrays are kept. One process reads while others wait.

    Raises:
        DataError: on a file of another format, and on records that contradict each other.
    """
    kept = cache / "annotations"
    with suppress(Exception):  # not there yet, or broken: NumPy tells that in several ways
        return _whole(kept)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "lock", timeout=600):
            with suppress(Exception):  # another process was first
                return _whole(kept)
            annotations = _read(path, categories)
            return _load(kept) if _save(annotations, kept) else annotations
    except (OSError, LockTimeout):  # no place to keep anything
        return _read(path, categories)


def _save(annotations: Annotations, folder: Path) -> bool:
    for field in fields(annotations):
        file = io.BytesIO()
        np.save(file, getattr(annotations, field.name))
        if not keep(file.getvalue(), folder / f"{field.name}.npy"):
            return False
    return keep(_checksum(annotations), folder / "checksum")


def _whole(folder: Path) -> Annotations:
    """What was kept, after a look at all of it; raises ValueError if it was damaged, as by a loss of power."""
    annotations = _load(folder)
    if (folder / "checksum").read_bytes() != _checksum(annotations):
        raise ValueError(f"{folder}: damaged")
    return annotations


def _checksum(annotations: Annotations) -> bytes:
    crc = 0
    for field in fields(annotations):
        crc = zlib.crc32(np.ascontiguousarray(getattr(annotations, field.name)).data, crc)
    return f"{crc:08x}".encode()


def _load(folder: Path) -> Annotations:
    return Annotations(*(np.load(folder / f"{field.name}.npy", mmap_mode="r") for field in fields(Annotations)))


def _read(path: Path, categories: Mapping[str, int]) -> Annotations:
    enabled = gc.isenabled()
    gc.disable()  # it would look through millions of records again and again
    try:
        with reading(path):
            return _arrays(_content(path), categories, path)
    finally:
        if enabled:
            gc.enable()


def _content(path: Path) -> dict[str, Any]:
    """The file's content, its polygons as arrays as soon as they are parsed."""
    content = json.loads(path.read_bytes(), object_hook=_compact)
    if not isinstance(content, dict) or not all(isinstance(content.get(kind), list) for kind in _KINDS):
        raise ValueError(f"it has no lists of {', '.join(_KINDS)}")
    return content


_KINDS: dict[str, dict[str, tuple[type, ...]]] = {
    "images": {"id": (int,), "file_name": (str,), "height": (int,), "width": (int,)},
    "annotations": {
        "id": (int,),
        "image_id": (int,),
        "category_id": (int,),
        "area": (int, float),
        "segmentation": (list, dict),
    },
    "categories": {"id": (int,), "name": (str,)},
}
"""The lists of an annotation file, and what their records must hold, of which types."""


def _compact(record: dict[str, Any]) -> dict[str, Any]:
    segmentation = record.get("segmentation")
    if isinstance(segmentation, list) and all(isinstance(polygon, list) for polygon in segmentation):
        with suppress(TypeError, OverflowError):  # told when it is used, by the annotation's id
            record["segmentation"] = [array("d", polygon) for polygon in segmentation]
    record.pop("bbox", None)
    return record


def _arrays(content: dict[str, Any], categories: Mapping[str, int], path: Path) -> Annotations:
    for kind in _KINDS:
        _check_records(content[kind], kind, path)
    names = {record["id"]: record["name"] for record in content["categories"]}
    absent = sorted(categories.keys() - set(names.values()))
    if absent:
        raise DataError(
            f"{path}: no category {', '.join(map(repr, absent[:3]))} ({len(absent)} of {len(categories)} are absent); "
            "is it the file of another data set? fetch the right one"
        )
    images = sorted(content["images"], key=lambda record: record["id"])
    place = {record["id"]: i for i, record in enumerate(images)}
    for record in images:
        if min(record["height"], record["width"]) < 1 or record["height"] * record["width"] >= 2**28:
            size = f"{record['height']} x {record['width']}"
            raise DataError(f"{path}: image {record['id']} is {size} pixels; fetch the file again")
    instances: list[tuple[int, dict[str, Any]]] = []
    for record in content["annotations"]:
        if record["category_id"] not in names:
            what = f"has the unknown category {record['category_id']}"
            raise DataError(f"{path}: annotation {record['id']} {what}; fetch the file again")
        if record["image_id"] not in place:
            what = f"belongs to image {record['image_id']}, which is absent"
            raise DataError(f"{path}: annotation {record['id']} {what}; fetch the file again")
        if names[record["category_id"]] in categories:
            instances.append((place[record["image_id"]], record))
    instances.sort(key=lambda instance: instance[0])
    sizes = np.array([(record["height"], record["width"]) for record in images], dtype=np.int64).reshape(-1, 2)
    pieces = [_pieces(record, sizes[i], path) for i, record in instances]
    owners = np.array([i for i, _ in instances], dtype=np.int64)
    areas = np.bincount(owners, [record["area"] for _, record in instances], len(images))
    for i in np.flatnonzero(~np.isfinite(areas)):
        raise DataError(f"{path}: the areas of image {images[i]['id']} make {areas[i]}; fetch the file again")
    return Annotations(
        ids=np.array([record["id"] for record in images], dtype=np.int64),
        names=np.array([record["file_name"].encode() for record in images], dtype=np.bytes_),
        sizes=sizes,
        areas=areas,
        first=np.searchsorted(owners, np.arange(len(images) + 1)),
        labels=np.array([categories[names[record["category_id"]]] for _, record in instances], dtype=np.uint8),
        run_lengths=np.array([isinstance(record["segmentation"], dict) for _, record in instances], dtype=bool),
        first_piece=_starts(map(len, pieces)),
        first_number=_starts(len(piece) for of_one in pieces for piece in of_one),
        numbers=np.frombuffer(b"".join(piece for of_one in pieces for piece in of_one)),
    )


def _starts(lengths: Iterable[int]) -> np.ndarray:
    return np.cumsum([0, *lengths], dtype=np.int64)


def _check_records(records: list[Any], kind: str, path: Path) -> None:
    for number, record in enumerate(records):
        known = record if isinstance(record, dict) else {}
        for key, types in _KINDS[kind].items():
            if type(known.get(key)) not in types:
                what = f"the {key} {known[key]!r:.40}" if key in known else f"no {key}"
                name = f"{known.get('id', number)!r:.40}"
                raise DataError(f"{path}: record {name} of {kind} has {what}; fetch the file again")
    twice = next((key for key, times in Counter(record["id"] for record in records).items() if times > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two of its {kind} have the id {twice}; remove one, or fetch the file again")


def _pieces(record: dict[str, Any], size: np.ndarray, path: Path) -> list[array]:
    """The segmentation of an instance as arrays of numbers; compressed run lengths are written out."""
    segmentation = record["segmentation"]
    height, width = int(size[0]), int(size[1])
    try:
        if isinstance(segmentation, list):
            for polygon in segmentation:
                if not isinstance(polygon, array) or len(polygon) % 2:
                    raise ValueError("a polygon is numbers, x and y by turns")
                ends = min(polygon, default=0), max(polygon, default=0)
                if not -height - width <= ends[0] <= ends[1] <= 2 * (height + width) or isnan(sum(polygon)):
                    raise ValueError("a polygon lies far outside of its image")
            return [polygon for polygon in segmentation if len(polygon) >= 6]  # fewer points enclose nothing
        counts = segmentation["counts"]
        if segmentation["size"] != [height, width]:
            raise ValueError(f"its size is {segmentation['size']}, its image's {[height, width]}")
        runs = array("q", _decompressed(counts) if isinstance(counts, str) else counts)
        if sum(runs) != height * width or min(runs) < 0:
            raise ValueError("its run lengths do not cover the image")
        return [array("d", runs)]
    except (ValueError, TypeError, OverflowError, KeyError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise DataError(
            f"{path}: the segmentation of annotation {record['id']} cannot be drawn ({reason}); fetch the file again"
        ) from None


def _decompressed(text: str) -> list[int]:
    """The run lengths in COCO's compressed form: 5 bits a character, low ones first, a sixth where more follow.

    From the fourth on they are differences to the last but one.
    """
    runs: list[int] = []
    value = shift = 0
    for code in text.encode():
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError("its run lengths hold a foreign character")
        value |= (bits & 31) << shift
        shift += 5
        if shift > 60:
            raise ValueError("a run length of more than 60 bits")
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its run lengths are cut off")
    return runs


def _mask(pieces: list[list[float]], height: int, width: int, run_lengths: bool) -> np.ndarray:
    if run_lengths:
        encoded = mask.frPyObjects({"counts": [int(n) for n in pieces[0]], "size": [height, width]}, height, width)
    else:
        encoded = mask.merge(mask.frPyObjects(pieces, height, width))
    return mask.decode(encoded).astype(bool)
