"""The records of COCO's annotation files: parsed, checked, and turned into arrays."""

import gc
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.coco_parts import KINDS, UNUSUAL, Annotation, Category, Image, Parts, packing
from datamodules.coco_segmentations import RecordError, check_reach, pieces_of
from datamodules.images import DataError, reading
from datamodules.lists import leaves

Content = dict[str, Any]
"""What an annotation file holds: lists of records, among them `images`, `annotations` and `categories`."""


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
                if dialect.translate is None:
                    with suppress(*UNUSUAL):
                        return _by_parts(path, categories)
                return _whole(path, categories, dialect)
            except RecordError as error:
                remedy = f"{error.remedy}, or {dialect.remedy}" if error.remedy else dialect.remedy
                raise DataError(f"{path}: {error}; {remedy}") from None
    finally:
        if enabled:
            gc.enable()


def _by_parts(path: Path, labels: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Of a file whose records all are of the right types: little of it is in memory at a time. Else it is unusual."""
    parts = Parts(path)
    return _arrays(labels, *map(parts.records, KINDS))


def _whole(path: Path, labels: Mapping[str, int], dialect: Dialect) -> dict[str, np.ndarray]:
    """Of any file: it tells what is wrong with a record, and whose it is."""
    content = _content(path, unique_keys=dialect.translate is not None)
    content = dialect.translate(content) if dialect.translate else content
    for kind in KINDS:
        _check_records(content[kind], kind)
    return _arrays(labels, *([_records(content[kind], of)] for kind, of in KINDS.items()))


def _records(content: list[Any], of: Any) -> list[Any]:
    return [of(*map(record.get, of.__struct_fields__)) for record in content]


def _content(path: Path, unique_keys: bool) -> Content:
    """The file's content, its polygons as arrays as soon as they are parsed."""
    hook = {"object_pairs_hook": _compact_unique} if unique_keys else {"object_hook": _compact}
    content = json.loads(path.read_bytes(), **hook)
    if not isinstance(content, dict) or not all(isinstance(content.get(kind), list) for kind in KINDS):
        raise ValueError(f"it has no lists of {', '.join(KINDS)}")
    return content


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


def _arrays(
    labels: Mapping[str, int],
    images: Iterable[list[Image]],
    annotations: Iterable[list[Annotation]],
    kinds: Iterable[list[Category]],
) -> dict[str, np.ndarray]:
    names = {record.id: record.name for part in kinds for record in part}
    absent = sorted(labels.keys() - set(names.values()))
    if absent:
        what = f"no category {', '.join(map(repr, absent[:3]))} ({len(absent)} of {len(labels)} are absent)"
        raise RecordError(f"{what}; it has {', '.join(map(repr, sorted(set(names.values()))[:5])) or 'none'}")
    label_of = {key: labels[name] for key, name in names.items() if name in labels}
    ordered = sorted((image for part in images for image in part), key=lambda image: image.id)
    for image in ordered:
        check_image(image)
    ids = np.array([image.id for image in ordered], dtype=np.int64)
    sizes = np.array([(image.height, image.width) for image in ordered], dtype=np.int64).reshape(-1, 2)
    owners, first_piece, first_number = array("q"), array("q", [0]), array("q", [0])
    areas, numbers, keys = array("d"), array("d"), []
    of_class, run_lengths = bytearray(), bytearray()
    for part in annotations:
        places = _places(part, ids)
        for annotation, i, size in zip(part, places.tolist(), sizes[places].tolist(), strict=True):
            label = label_of.get(annotation.category_id)
            if label is None:
                if annotation.category_id not in names:
                    raise RecordError(f"annotation {annotation.id} has the unknown category {annotation.category_id}")
                continue
            pieces, is_run_lengths = pieces_of(annotation.segmentation, size[0], size[1], annotation.id)
            for piece in pieces:
                numbers.frombytes(packing(len(piece))(*piece))
                first_number.append(len(numbers))
            first_piece.append(len(first_number) - 1)
            keys.append(annotation.id)
            owners.append(i)
            areas.append(annotation.area)
            of_class.append(label)
            run_lengths.append(is_run_lengths)
    arrays = {
        "run_lengths": np.frombuffer(run_lengths, dtype=bool),
        "first_piece": np.frombuffer(first_piece, dtype=np.int64),
        "first_number": np.frombuffer(first_number, dtype=np.int64),
        "numbers": np.frombuffer(numbers),
    }
    owner = np.frombuffer(owners, dtype=np.int64)
    check_reach(**arrays, reach=sizes.sum(1)[owner], keys=keys)
    total = np.bincount(owner, areas, len(ordered))
    for endless in np.flatnonzero(~np.isfinite(total)):
        raise RecordError(f"the areas of image {ordered[endless].id} make {total[endless]}")
    order = np.argsort(owner, kind="stable")
    return {
        "ids": ids,
        "names": np.array([image.file_name.encode() for image in ordered], dtype=np.bytes_),
        "sizes": sizes,
        "areas": total,
        "order": order,
        "first": np.searchsorted(owner[order], np.arange(len(ordered) + 1)),
        "labels": np.frombuffer(of_class, dtype=np.uint8),
        **arrays,
    }


def _places(annotations: list[Annotation], ids: np.ndarray) -> np.ndarray:
    """The places of their images among `ids`, in ascending order: for many, faster than a dict."""
    try:
        wanted = np.array([annotation.image_id for annotation in annotations], dtype=np.int64)
    except OverflowError:  # there is none of that id
        wanted = np.array([annotation.image_id for annotation in annotations], dtype=object)
    places = np.searchsorted(ids, wanted)
    there = np.append(ids, 0)[places] == wanted if len(ids) else np.zeros(len(wanted), dtype=bool)
    there &= places < len(ids)
    for number in np.flatnonzero(~there):
        stranger = annotations[number]
        raise RecordError(f"annotation {stranger.id} belongs to image {stranger.image_id}, which is absent")
    return places


_TYPES: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,)}


def _check_records(records: list[Any], kind: str) -> None:
    for number, record in enumerate(records):
        known = record if isinstance(record, dict) else {}
        for key, hint in KINDS[kind].__annotations__.items():
            if type(known.get(key)) not in _TYPES.get(hint, (list, dict)):
                what = f"the {key} {known[key]!r:.40}" if key in known else f"no {key}"
                raise RecordError(f"record {known.get('id', number)!r:.40} of {kind} has {what}")
    twice = next((key for key, times in Counter(record["id"] for record in records).items() if times > 1), None)
    if twice is not None:
        raise RecordError(f"two of its {kind} have the id {twice}", "remove one")


def check_image(image: Image) -> None:
    """Raises RecordError if an image cannot have its size, or lies outside of its folder."""
    if min(image.height, image.width) < 1 or image.height * image.width >= 2**28:
        raise RecordError(f"image {image.id} is {image.height} x {image.width} pixels")
    if leaves(image.file_name):
        raise RecordError(
            f"image {image.id} is {image.file_name!r:.80}, outside of the folder of images",
            "name it by its path below that folder",
        )
