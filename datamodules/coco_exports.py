"""What annotation tools write in COCO's format, brought into the form of COCO's own files.

What is unusual but has one meaning is taken; what contradicts itself, or could mean several things, is told.
"""

import math
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal

from PIL import Image as Picture
from PIL.ExifTags import Base

from datamodules.coco_parts import Image
from datamodules.coco_records import Content, Dialect, check_image
from datamodules.coco_segmentations import RecordError, pixels
from datamodules.lists import leaves

Boxes = Literal["paint", "skip"]

Record = dict[str, Any]


def export(wanted: Collection[str], folder: Path, boxes: Boxes | None) -> Dialect:
    """How the exports of annotation tools differ from COCO's own files.

    Ids may be words, or whole numbers of any type, and annotations need none. Areas may be missing, and so may the
    sizes of images, which are then those of the files. Annotations of images that are not listed are passed over. A
    polygon may be a single list of numbers, or a list of points. A category without a name goes by its supercategory,
    and several of one name are one.

    Args:
        wanted: names of the categories to read.
        folder: folder of the images.
        boxes: whether an annotation without a segmentation is painted as its box, or skipped; else it is refused.
    """

    def translate(content: Content) -> Content:
        images = _by_key(content["images"], "images")
        for record in images.values():
            record |= _file_and_size(record, folder)
            check_image(Image(record["id"], record["file_name"], record["height"], record["width"]))
        if twice := _twice(record["file_name"] for record in images.values()):
            raise RecordError(f"two of its images are {twice!r:.80}", "make them one")
        categories = _by_key(content["categories"], "categories")
        for record in categories.values():
            name = next(
                (record.get(key) for key in ("name", "supercategory") if record.get(key) not in (None, "")), None
            )
            record["name"] = str(name) if isinstance(name, int) else name
        annotations = _annotations(content["annotations"], images, categories, wanted, boxes)
        _check_unit(annotations, images)
        return {"images": [*images.values()], "categories": [*categories.values()], "annotations": annotations}

    return Dialect(translate, "correct it in the annotation tool and export it again")


def _by_key(records: list[Any], kind: str) -> dict[int | str, Record]:
    """Copies of the records by their ids, in order; where some are words, all are numbered anew."""
    found: dict[int | str, Record] = {}
    for number, record in enumerate(records, start=1):
        key = _key(_record(record, number, kind).get("id"))
        if key is None:
            raise RecordError(f"record {number} of {kind} has the id {record.get('id')!r:.40}")
        if key in found:
            raise RecordError(f"two of its {kind} have the id {key}", "remove one")
        found[key] = {**record, "id": key}
    if any(isinstance(key, str) for key in found):
        for number, record in enumerate(found.values(), start=1):
            record["id"] = number
    return found


def _record(record: Any, number: int, kind: str) -> Record:
    if not isinstance(record, dict):
        raise RecordError(f"record {number} of {kind} is {record!r:.40}")
    return record


def _twice(values: Iterable[str]) -> str | None:
    return next((value for value, times in Counter(values).items() if times > 1), None)


def _key(value: Any) -> int | str | None:
    """An id: 7, 7.0, "7" and "7.0" are one; None if it is none."""
    if isinstance(value, str):
        return int(value.partition(".")[0]) if re.fullmatch(r"-?[0-9]{1,18}(\.0+)?", value) else value or None
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _number(value: Any) -> int | float | None:
    """A finite number, perhaps written as a text; None if it is none."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return value if known and (isinstance(value, int) or math.isfinite(value)) else None


def _file_and_size(record: Record, folder: Path) -> Record:
    name = record.get("file_name")
    if not isinstance(name, str):
        raise RecordError(
            f"image {record['id']} has {'no file_name' if name is None else f'the file_name {name!r:.40}'}"
        )
    name = name.replace("\\", "/")  # of Windows
    height, width = _key(record.get("height")), _key(record.get("width"))
    if not height and not width and not leaves(name):
        height, width = image_size(folder / name, upright=True)
    if not isinstance(height, int) or not isinstance(width, int):
        raise RecordError(f"image {record['id']} is {record.get('height')!r:.40} x {record.get('width')!r:.40} pixels")
    return {"file_name": name, "height": height, "width": width}


def _annotations(
    records: list[Any],
    images: dict[int | str, Record],
    categories: dict[int | str, Record],
    wanted: Collection[str],
    boxes: Boxes | None,
) -> list[Record]:
    ids = [_key(_record(record, number, "annotations").get("id")) for number, record in enumerate(records, start=1)]
    own = len(set(ids)) == len(ids) and all(isinstance(key, int) for key in ids)
    found, strangers, bare = [], 0, []
    for number, stored in enumerate(records, start=1):
        record = {**stored, "id": ids[number - 1] if own else number}
        image, category = (_key(record.get(key)) for key in ("image_id", "category_id"))
        if image is None or category not in categories:
            key = "image_id" if image is None else "category_id"
            raise RecordError(f"annotation {record['id']} has the {key} {record.get(key)!r:.40}, which is none")
        if image not in images:
            strangers += 1
        elif categories[category]["name"] in wanted:
            record |= {"image_id": images[image]["id"], "category_id": categories[category]["id"]}
            record["segmentation"] = _segmentation(record.get("segmentation"))
            if not record["segmentation"]:
                bare.append(record["id"])
                record["segmentation"] = _box(record) if boxes == "paint" else []
            record["area"] = _area(record, images[image])
            found.append(record)
    if strangers == len(records) > 0:
        raise RecordError("none of its annotations is of one of its images")
    if bare and boxes is None:
        raise RecordError(
            f"{len(bare)} of its annotations, such as {bare[0]}, have no segmentation, and a box is no label map",
            "export polygons or masks, or set --data.boxes to paint or skip",
        )
    return found


def _check_unit(annotations: list[Record], images: dict[int | str, Record]) -> None:
    """Raises RecordError if coordinates are shares of an image's width and height."""
    shapes = [record["segmentation"] for record in annotations if record["segmentation"]]
    in_unit = all(isinstance(shape, list) and all(map(_in_unit, shape)) for shape in shapes)
    if shapes and in_unit and any(record["height"] * record["width"] > 1 for record in images.values()):
        raise RecordError(
            "all its polygons and boxes lie between 0 and 1, as shares of an image's width and height do",
            "export pixels",
        )


def _in_unit(polygon: Any) -> bool:
    return isinstance(polygon, array) and min(polygon, default=0) >= 0 and max(polygon, default=0) <= 1


def _segmentation(value: Any) -> Any:
    """Run lengths or a list of polygons as COCO has them; an empty list where nothing is enclosed."""
    if not isinstance(value, list):
        return value or []
    alone = _polygon(value)
    parts = [_polygon(part) or part for part in value] if alone is None else [alone]
    return [] if all(isinstance(part, array) and len(part) in (0, 2, 4) for part in parts) else parts


def _polygon(value: Any) -> array | None:
    """Numbers, x and y by turns, or points of two numbers each, in an array; None if it is neither."""
    if isinstance(value, array) or not isinstance(value, list) or not value:
        return value if isinstance(value, array) else None
    if len(value) >= 3 and all(isinstance(point, array | list) and len(point) == 2 for point in value):
        value = [number for point in value for number in point]
    numbers = [_number(number) for number in value]
    return None if None in numbers else array("d", numbers)


def _box(record: Record) -> list[array]:
    """The box of an annotation as a polygon."""
    box = record.get("bbox")
    sides = [_number(side) for side in box] if isinstance(box, list) and len(box) == 4 else []
    left, top, width, height = (side or 0 for side in sides) if None not in sides and sides else (0, 0, 0, 0)
    if width <= 0 or height <= 0:
        raise RecordError(f"annotation {record['id']} has no segmentation, and the box {box!r:.60}")
    attributes = record.get("attributes")
    if isinstance(attributes, dict) and (_number(attributes.get("rotation")) or 0) % 360:
        raise RecordError(f"annotation {record['id']} is a turned box", "make a polygon of it")
    right, bottom = left + width, top + height
    return [array("d", [left, top, right, top, right, bottom, left, bottom])]


def _area(record: Record, image: Record) -> float:
    """The stored area, or else the pixels that are covered."""
    area = _number(record.get("area"))
    return pixels(record, image["height"], image["width"]) if area is None else area


def image_size(path: Path, upright: bool) -> tuple[int, int]:
    """Height and width of an image file, from its header, and as its EXIF tag turns it if `upright`.

    Raises RecordError if that cannot be read.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError("there is none")
        with Picture.open(path) as image:
            turned = upright and image.format != "TIFF" and image.getexif().get(Base.Orientation, 1) in (5, 6, 7, 8)
            return image.size if turned else image.size[::-1]
    except Exception as error:  # each format's reader has errors of its own
        raise RecordError(f"image {path.name!r:.80} has no size in it, nor in its file ({error})") from None
