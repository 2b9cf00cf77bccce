"""The records of COCO's annotation files: parsed, checked, and turned into arrays."""

import gc
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask

from datamodules.images import DataError, reading
from datamodules.lists import leaves

Content = dict[str, Any]
"""What an annotation file holds: lists of records, among them `images`, `annotations` and `categories`."""


class RecordError(ValueError):
    """What is wrong with the records of an annotation file, and perhaps a remedy of its own."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


class Dialect(NamedTuple):
    """How a file differs from COCO's own, which are read as they are."""

    translate: Callable[[Content], Content] | None = None
    """Gives the records the form of COCO's own; raises RecordError."""
    remedy: str = "fetch it again"


COCOS_OWN = Dialect()


def read_records(path: Path, categories: Mapping[str, int], dialect: Dialect) -> dict[str, np.ndarray]:
    """The arrays of `Annotations`, by name; arguments and errors are those of `read_annotations`."""
    enabled = gc.isenabled()
    gc.disable()  # it would look through millions of records again and again
    try:
        with reading(path, dialect.remedy):
            try:
                content = _content(path, unique_keys=dialect.translate is not None)
                return _arrays(dialect.translate(content) if dialect.translate else content, categories)
            except RecordError as error:
                remedy = f"{error.remedy}, or {dialect.remedy}" if error.remedy else dialect.remedy
                raise DataError(f"{path}: {error}; {remedy}") from None
    finally:
        if enabled:
            gc.enable()


def pixels(record: Mapping[str, Any], height: int, width: int) -> int:
    """How many pixels an annotation covers; raises RecordError if it cannot be drawn."""
    numbers = [piece.tolist() for piece in _pieces(record, height, width)]
    return int(mask.area(encoded(numbers, height, width, isinstance(record["segmentation"], dict)))) if numbers else 0


def encoded(pieces: list[list[float]], height: int, width: int, run_lengths: bool) -> Any:
    """What pycocotools makes of polygons, one or more, or of run lengths in one piece."""
    if run_lengths:
        return mask.frPyObjects({"counts": [int(n) for n in pieces[0]], "size": [height, width]}, height, width)
    return mask.merge(mask.frPyObjects(pieces, height, width))


def _content(path: Path, unique_keys: bool) -> Content:
    """The file's content, its polygons as arrays as soon as they are parsed."""
    hook = {"object_pairs_hook": _compact_unique} if unique_keys else {"object_hook": _compact}
    content = json.loads(path.read_bytes(), **hook)
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


def _compact(record: dict[str, Any], keep_box: bool = False) -> dict[str, Any]:
    segmentation = record.get("segmentation")
    if isinstance(segmentation, list) and all(isinstance(polygon, list) for polygon in segmentation):
        with suppress(TypeError, OverflowError):  # told when it is used, by the annotation's id
            record["segmentation"] = [array("d", polygon) for polygon in segmentation]
    if not keep_box:
        record.pop("bbox", None)
    return record


def _compact_unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise RecordError(f"a record has two values of {twice!r:.40}")
    return _compact(record, keep_box=True)


def _arrays(content: Content, categories: Mapping[str, int]) -> dict[str, np.ndarray]:
    for kind in _KINDS:
        _check_records(content[kind], kind)
    names = {record["id"]: record["name"] for record in content["categories"]}
    absent = sorted(categories.keys() - set(names.values()))
    if absent:
        what = f"no category {', '.join(map(repr, absent[:3]))} ({len(absent)} of {len(categories)} are absent)"
        raise RecordError(f"{what}; it has {', '.join(map(repr, sorted(set(names.values()))[:5])) or 'none'}")
    images = sorted(content["images"], key=lambda record: record["id"])
    place = {record["id"]: i for i, record in enumerate(images)}
    for record in images:
        check_image(record)
    instances: list[tuple[int, dict[str, Any]]] = []
    for record in content["annotations"]:
        if record["category_id"] not in names:
            raise RecordError(f"annotation {record['id']} has the unknown category {record['category_id']}")
        if record["image_id"] not in place:
            raise RecordError(f"annotation {record['id']} belongs to image {record['image_id']}, which is absent")
        if names[record["category_id"]] in categories:
            instances.append((place[record["image_id"]], record))
    instances.sort(key=lambda instance: instance[0])
    sizes = np.array([(record["height"], record["width"]) for record in images], dtype=np.int64).reshape(-1, 2)
    heights_and_widths = sizes.tolist()
    pieces = [_pieces(record, *heights_and_widths[i]) for i, record in instances]
    owners = np.array([i for i, _ in instances], dtype=np.int64)
    areas = np.bincount(owners, [record["area"] for _, record in instances], len(images))
    for i in np.flatnonzero(~np.isfinite(areas)):
        raise RecordError(f"the areas of image {images[i]['id']} make {areas[i]}")
    return {
        "ids": np.array([record["id"] for record in images], dtype=np.int64),
        "names": np.array([record["file_name"].encode() for record in images], dtype=np.bytes_),
        "sizes": sizes,
        "areas": areas,
        "first": np.searchsorted(owners, np.arange(len(images) + 1)),
        "labels": np.array([categories[names[record["category_id"]]] for _, record in instances], dtype=np.uint8),
        "run_lengths": np.array([isinstance(record["segmentation"], dict) for _, record in instances], dtype=bool),
        "first_piece": _starts(map(len, pieces)),
        "first_number": _starts(len(piece) for of_one in pieces for piece in of_one),
        "numbers": np.frombuffer(b"".join(piece for of_one in pieces for piece in of_one)),
    }


def _starts(lengths: Iterable[int]) -> np.ndarray:
    return np.cumsum([0, *lengths], dtype=np.int64)


def _check_records(records: list[Any], kind: str) -> None:
    for number, record in enumerate(records):
        known = record if isinstance(record, dict) else {}
        for key, types in _KINDS[kind].items():
            if type(known.get(key)) not in types:
                what = f"the {key} {known[key]!r:.40}" if key in known else f"no {key}"
                raise RecordError(f"record {known.get('id', number)!r:.40} of {kind} has {what}")
    twice = next((key for key, times in Counter(record["id"] for record in records).items() if times > 1), None)
    if twice is not None:
        raise RecordError(f"two of its {kind} have the id {twice}", "remove one")


def check_image(record: Mapping[str, Any]) -> None:
    """Raises RecordError if an image cannot have its size, or lies outside of its folder."""
    if min(record["height"], record["width"]) < 1 or record["height"] * record["width"] >= 2**28:
        raise RecordError(f"image {record['id']} is {record['height']} x {record['width']} pixels")
    if leaves(record["file_name"]):
        raise RecordError(
            f"image {record['id']} is {record['file_name']!r:.80}, outside of the folder of images",
            "name it by its path below that folder",
        )


def _pieces(record: Mapping[str, Any], height: int, width: int) -> list[array]:
    """The segmentation of an instance as arrays of numbers; compressed run lengths are written out."""
    segmentation = record["segmentation"]
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
        raise RecordError(f"the segmentation of annotation {record['id']} cannot be drawn ({reason})") from None


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
