"""A small annotation file in COCO's format, for tests to change."""

from typing import Any

from coco_reference import VOC_NAMES_IN_COCO
from tiny_data import COCO_CATEGORIES

LABELS = {name: label for label, name in enumerate(VOC_NAMES_IN_COCO, start=1)}
SIZE = (12, 16)
SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]


def record(segmentation: Any, **changes: Any) -> dict[str, Any]:
    """An annotation of image 7, a person."""
    return {"id": 1, "image_id": 7, "category_id": 1, "area": 40.0, "segmentation": segmentation, **changes}


def small_content() -> dict[str, Any]:
    """Images 7 and 8, with a square on the first."""
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]} for i in (8, 7)],
        "annotations": [record([SQUARE], id=100)],
        "categories": [{"id": number, "name": name} for number, name in COCO_CATEGORIES.items()],
    }
