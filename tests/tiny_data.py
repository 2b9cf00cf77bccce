"""Tiny data sets in the on-disk formats of the real ones, drawn in code and the same every time."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip

CAMVID_SIZE = (48, 64)


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """A picture of soft colour blobs: uint8 `(H, W, 3)`."""
    blobs = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC))


# COCO

COCO_CATEGORIES = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck", 9: "boat",
    13: "stop sign", 16: "bird", 17: "cat", 18: "dog", 19: "horse", 20: "sheep", 21: "cow", 22: "elephant",
    44: "bottle", 51: "bowl", 62: "chair", 63: "couch", 64: "potted plant", 67: "dining table", 72: "tv",
    90: "toothbrush",
}  # fmt: skip
"""Ids with gaps, as in COCO; 8, 13, 22, 51 and 90 are no VOC classes."""

Instance = tuple[int, Any]
"""Category and segmentation."""

CocoImage = tuple[int, tuple[int, int], list[Instance]]
"""Id, (height, width) and instances."""


def boxes(category: int, *corners: Box) -> Instance:
    """An instance of rectangular polygons."""
    return category, [[left, top, right, top, right, bottom, left, bottom] for left, top, right, bottom in corners]


def crowd(category: int, size: tuple[int, int], *corners: Box) -> Instance:
    """A crowd: rectangles as run lengths."""
    mask = np.zeros(size, dtype=bool)
    for left, top, right, bottom in corners:
        mask[top:bottom, left:right] = True
    return category, run_lengths(mask)


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """A mask as COCO's uncompressed run lengths: down the columns, beginning with a run of zeros."""
    flat = mask.astype(bool).ravel(order="F")
    bounds = np.flatnonzero(np.concatenate([[flat[0]], flat[1:] != flat[:-1], [True]]))
    return {"counts": np.diff(bounds, prepend=0).tolist(), "size": list(mask.shape)}


COCO_IMAGES: dict[str, list[CocoImage]] = {
    "train2017": [
        (391895, (48, 64), [boxes(1, (4, 4, 40, 40)), boxes(3, (30, 20, 60, 44))]),  # two classes overlap
        (522418, (64, 48), [boxes(1, (2, 2, 30, 40)), boxes(1, (20, 10, 46, 60))]),  # one class overlaps itself
        (184613, (48, 64), [crowd(1, (48, 64), (0, 0, 30, 12), (34, 0, 64, 30)), boxes(2, (8, 8, 48, 46))]),
        (318219, (56, 56), [boxes(17, (2, 2, 26, 50), (32, 6, 54, 54))]),  # one instance in two pieces
        (554625, (48, 64), [boxes(8, (4, 4, 60, 44))]),  # no VOC class: left out of training
        (574769, (40, 40), []),  # no annotation: left out of training
        (60623, (48, 64), [boxes(62, (2, 2, 32, 22)), boxes(67, (9, 25, 49, 35)), boxes(51, (40, 2, 60, 9))]),
        (309022, (48, 64), [(7, [[2, 2, 42, 2, 42, 27, 3, 27, 3, 28, 2, 28]])]),
        (5802, (48, 48), [boxes(18, (4, 6, 44, 42))]),  # a grey JPEG
        (222564, (48, 64), [boxes(22, (2, 2, 40, 40)), boxes(21, (20, 10, 60, 46))]),  # meets no VOC class
        (118113, (64, 64), [boxes(72, (2, 2, 40, 40)), boxes(63, (9, 9, 62, 62)), boxes(44, (9, 4, 38, 62))]),
        (193271, (56, 64), [(6, [[10.5, 4.25, 60.0, 8.5, 54.75, 50.0, 4.0, 44.5]]), boxes(90, (30, 20, 36, 40))]),
        (224736, (48, 64), [(5, [[2, 40, 32, 2, 62, 40]]), boxes(16, (24, 30, 36, 46))]),
    ],
    "val2017": [
        (397133, (48, 64), [boxes(1, (4, 4, 30, 44)), boxes(62, (20, 16, 60, 46))]),
        (37777, (40, 56), []),
        (252219, (64, 48), [boxes(17, (4, 4, 20, 20)), crowd(1, (64, 48), (10, 10, 30, 30))]),  # below 1000 pixels
        (87038, (56, 56), [boxes(13, (2, 2, 9, 9)), boxes(3, (6, 24, 50, 50)), boxes(3, (30, 30, 54, 54))]),
    ],
}  # fmt: skip

COCO_TRAINABLE = (5802, 118113, 184613, 193271, 222564, 224736, 309022, 318219, 391895, 522418)
"""Images whose VOC instances cover more than 1000 pixels: without 60623, of exactly 1000, but with 309022, of 1001."""

COCO_GREY = 5802


def write_coco(root: Path) -> None:
    """COCO 2017: `annotations/instances_{train,val}2017.json` and the JPEGs of `train2017/` and `val2017/`."""
    (root / "annotations").mkdir(parents=True)
    for folder, images in COCO_IMAGES.items():
        (root / folder).mkdir()
        for image_id, size, _ in images:
            image = Image.fromarray(picture(image_id, *size))
            image = image.convert("L") if image_id == COCO_GREY else image
            image.save(root / folder / f"{image_id:012}.jpg", quality=90)
        content = {
            "info": {
                "description": "COCO 2017 Dataset",
                "url": "http://cocodataset.org",
                "version": "1.0",
                "year": 2017,
                "contributor": "COCO Consortium",
                "date_created": "2017/09/01",
            },
            "licenses": [{"url": "http://flickr.com/commons/usage/", "id": 7, "name": "No known restrictions"}],
            "images": [_image_record(folder, image_id, *size) for image_id, size, _ in images],
            "annotations": _annotation_records(images),
            "categories": [
                {"supercategory": "thing", "id": category, "name": name} for category, name in COCO_CATEGORIES.items()
            ],
        }
        (root / "annotations" / f"instances_{folder}.json").write_text(json.dumps(content))


def _image_record(folder: str, image_id: int, height: int, width: int) -> dict[str, Any]:
    return {
        "license": 7,
        "file_name": f"{image_id:012}.jpg",
        "coco_url": f"http://images.cocodataset.org/{folder}/{image_id:012}.jpg",
        "height": height,
        "width": width,
        "date_captured": "2013-11-14 17:02:52",
        "flickr_url": f"http://farm9.staticflickr.com/8186/{image_id}_z.jpg",
        "id": image_id,
    }


def _annotation_records(images: list[CocoImage]) -> list[dict[str, Any]]:
    records = []
    for image_id, _, instances in images:
        for category, segmentation in instances:
            is_crowd = isinstance(segmentation, dict)
            records.append(
                {
                    "segmentation": segmentation,
                    "area": float(sum(segmentation["counts"][1::2]) if is_crowd else sum(map(_area, segmentation))),
                    "iscrowd": int(is_crowd),
                    "image_id": image_id,
                    "bbox": [0, 0, *segmentation["size"][::-1]] if is_crowd else _bounding_box(segmentation),
                    "category_id": category,
                    "id": 900100000000 + len(records) if is_crowd else 1700000 + 7 * len(records),
                }
            )
    return records


def _area(polygon: list[float]) -> float:
    x, y = np.array(polygon).reshape(-1, 2).T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def _bounding_box(polygons: list[list[float]]) -> list[float]:
    x, y = np.concatenate([np.array(polygon).reshape(-1, 2) for polygon in polygons]).T
    return [float(v) for v in (x.min(), y.min(), np.ptp(x), np.ptp(y))]


# PASCAL VOC

VOC_NAMES = {
    "train": ["2007_000032", "2007_000039", "2007_000063", "2007_000068"],
    "val": ["2007_000033", "2007_000042", "2007_000061"],
}


def write_voc(root: Path) -> None:
    """PASCAL VOC 2012: palette PNGs whose objects have a void border, and an image that is in no list."""
    voc = root / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / folder).mkdir(parents=True)
    for number, name in enumerate((*VOC_NAMES["train"], *VOC_NAMES["val"])):
        height, width = 40 + 4 * number, 64 - 4 * number
        Image.fromarray(picture(number, height, width)).save(voc / "JPEGImages" / f"{name}.jpg", quality=90)
        label = Image.fromarray(voc_label(number, height, width), "P")
        label.putpalette([channel for index in range(256) for channel in _voc_color(index)])
        label.save(voc / "SegmentationClass" / f"{name}.png")
    Image.fromarray(picture(99, 40, 40)).save(voc / "JPEGImages" / "2012_004331.jpg")
    lists = voc / "ImageSets" / "Segmentation"
    for split, names in {**VOC_NAMES, "trainval": sorted(VOC_NAMES["train"] + VOC_NAMES["val"])}.items():
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


def voc_label(number: int, height: int, width: int) -> np.ndarray:
    """Two rectangular objects with a void border of 2 pixels: uint8 `(H, W)`."""
    label = np.zeros((height, width), dtype=np.uint8)
    for category, (left, top) in ((1 + 3 * number % 20, (4, 4)), (20 - number, (width // 2, height // 2))):
        label[top : top + 18, left : left + 18] = 255
        label[top + 2 : top + 16, left + 2 : left + 16] = category
    return label


def _voc_color(index: int) -> tuple[int, int, int]:
    bits = [index >> shift & 1 for shift in range(8)]
    red, green, blue = (sum(bits[3 * i + c] << (7 - i) for i in range(3) if 3 * i + c < 8) for c in range(3))
    return red, green, blue


# CamVid


def write_camvid(root: Path, train: int = 8, val: int = 4, test: int = 3) -> None:
    """CamVid as SegNet's tutorial has it: PNG pairs in `train` and `trainannot`, ...; label 11 is void."""
    for split, number in (("train", train), ("val", val), ("test", test)):
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        names = [f"{split}_{6690 + 30 * i:06}.png" for i in range(number)]
        for name in names:
            seed = sum(name.encode())
            Image.fromarray(picture(seed, *CAMVID_SIZE)).save(root / split / name)
            Image.fromarray(camvid_label(seed)).save(root / f"{split}annot" / name)
        pairs = "".join(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n" for name in names)
        (root / f"{split}.txt").write_text(pairs)


def camvid_label(seed: int) -> np.ndarray:
    """A patchwork of all of the labels 0..11: uint8 `(H, W)`."""
    patches = np.random.default_rng(seed).permutation(12).reshape(3, 4).astype(np.uint8)
    return np.kron(patches, np.ones((16, 16), dtype=np.uint8))


# Pictures without labels


def write_images(folder: Path, sizes: Sequence[tuple[int, int]] = ((48, 64), (56, 40), (40, 40))) -> list[Path]:
    """Pictures of several sizes and formats, one of them grey and in a folder below; beside them, a file of text."""
    paths = [folder / "first.jpg", folder / "second.png", folder / "below" / "third.JPG"]
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(picture(number, *size))
        (image.convert("L") if number == 2 else image).save(path)
    (folder / "notes.txt").write_text("no picture\n")
    return sorted(paths)
