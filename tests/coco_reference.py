"""COCO's label maps built a second way, straight from the JSON: what the data module must agree with."""

from typing import Any

import numpy as np
from pycocotools import mask

VOC_NAMES_IN_COCO = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
    "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
)  # fmt: skip
"""COCO's names of VOC's classes 1 to 20."""


def reference_label_map(content: dict[str, Any], image_id: int) -> np.ndarray:
    """The class of the one instance that covers a pixel, 0 where there is none, 255 where there are several."""
    image = next(record for record in content["images"] if record["id"] == image_id)
    names = {category["id"]: category["name"] for category in content["categories"]}
    size = image["height"], image["width"]
    painted, covers = [np.zeros(size, dtype=np.uint8)], [np.zeros(size, dtype=np.uint8)]
    for annotation in content["annotations"]:
        name = names[annotation["category_id"]]
        if annotation["image_id"] == image_id and name in VOC_NAMES_IN_COCO:
            covers.append(_instance_mask(annotation["segmentation"], *size))
            painted.append(covers[-1] * np.uint8(1 + VOC_NAMES_IN_COCO.index(name)))
    return np.where(np.sum(covers, axis=0) > 1, 255, np.max(painted, axis=0))


def _instance_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, dict):
        runs = segmentation["counts"]
        return np.repeat(np.arange(len(runs)) % 2, runs).reshape(width, height).T.astype(np.uint8)
    return mask.decode(mask.frPyObjects(segmentation, height, width)).any(axis=2).astype(np.uint8)
