"""COCO in its real format, drawn at any size: for benchmarks where there is no copy of the real one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck", 9: "boat",
    10: "traffic light", 11: "fire hydrant", 13: "stop sign", 16: "bird", 17: "cat", 18: "dog", 19: "horse",
    20: "sheep", 21: "cow", 22: "elephant", 27: "backpack", 31: "handbag", 44: "bottle", 47: "cup", 51: "bowl",
    62: "chair", 63: "couch", 64: "potted plant", 67: "dining table", 72: "tv", 84: "book",
}  # fmt: skip
"""Some of COCO's categories, all that are VOC classes among them."""

SIZE = (480, 640)


def write_coco(root: Path, images: int, annotations: int | None = None, draw: bool = False) -> None:
    """Write a training set in COCO's layout: `annotations/instances_train2017.json` and `train2017/`.

    Args:
        root: the folder to write.
        images: number of images, of 640 x 480 pixels.
        annotations: number of annotations; by default about as many an image as COCO has. One in 85 is a crowd.
        draw: whether the images are drawn; else they are empty files.
    """
    random = np.random.default_rng(0)
    annotations = annotations or round(7.3 * images)
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    ids = np.sort(random.choice(581_929, images, replace=False)) + 1
    for image_id in ids:
        path = root / "train2017" / f"{image_id:012}.jpg"
        if draw:
            coarse = random.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC).save(path, quality=92)
        else:
            path.touch()
    owners = random.choice(ids, annotations)
    with (root / "annotations" / "instances_train2017.json").open("w") as file:
        file.write('{"info": {"year": 2017}, "licenses": [], "images": [')
        file.write(", ".join(json.dumps(_image(int(image_id))) for image_id in ids))
        file.write('], "annotations": [')
        for number, owner in enumerate(owners):
            file.write(", " * (number > 0) + json.dumps(_annotation(random, number, int(owner))))
        categories = [{"supercategory": "thing", "id": key, "name": name} for key, name in NAMES.items()]
        file.write('], "categories": ' + json.dumps(categories) + "}")


def _image(image_id: int) -> dict[str, Any]:
    name = f"{image_id:012}.jpg"
    return {
        "license": 3,
        "file_name": name,
        "coco_url": f"http://images.cocodataset.org/train2017/{name}",
        "height": SIZE[0],
        "width": SIZE[1],
        "date_captured": "2013-11-14 11:18:45",
        "flickr_url": f"http://farm9.staticflickr.com/8186/{image_id}_d8e0d2a6_z.jpg",
        "id": image_id,
    }


def _annotation(random: np.random.Generator, number: int, owner: int) -> dict[str, Any]:
    """A polygon of about as many points as COCO's have, or a crowd."""
    crowd = number % 85 == 84
    center, radius = random.uniform((100, 100), (540, 380)), random.uniform(10, 100)
    points = int(random.integers(8, 46))
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    outline = center + np.stack([np.cos(angles), np.sin(angles)], 1) * radius * random.uniform(0.8, 1, (points, 1))
    if crowd:
        runs = random.multinomial(SIZE[0] * SIZE[1], np.ones(301) / 301).tolist()
        segmentation: Any = {"counts": runs, "size": list(SIZE)}
    else:
        segmentation = [outline.round(2).ravel().tolist()]
    return {
        "segmentation": segmentation,
        "area": round(float(radius**2 * 2.5), 4),
        "iscrowd": int(crowd),
        "image_id": owner,
        "bbox": [round(float(v), 2) for v in (*(center - radius), 2 * radius, 2 * radius)],
        "category_id": int(random.choice(list(NAMES))),
        "id": 900_000 + number,
    }
