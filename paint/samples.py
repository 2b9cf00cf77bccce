"""Pictures to paint on where a person has none: validation samples of a run, or grey for a label map."""

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from callbacks.synthesis.callback import spread
from callbacks.synthesis.pictures import label_picture, picture
from datamodules.files import files_below
from datamodules.images import DataError, image_endings, upright_size
from reports.files import write_whole
from reports.gallery import save_picture

GIVEN = "given"
"""The folder for these pictures, in that of the results."""


def write_samples(data: Any, count: int, folder: Path) -> tuple[Path, Path]:
    """Write samples, spread evenly over a data set, as PNG files, with their labels.

    Args:
        data: samples of `image` `(3, H, W)` in `[0, 1]` and `label`.
        count: how many; as many as there are, if those are fewer.
        folder: gets `images/000012.png` and so on, and `labels/000012.png` or `classes.json`.

    Returns:
        Where the images are, and their labels.

    Raises:
        DataError: if the set is empty.
    """
    if not len(data):
        raise DataError("--samples: the validation set holds no samples")
    images, labels, classes = folder / "images", folder / "labels", {}
    for index in spread(count, len(data)):
        sample, name = data[index], f"{index:06d}"
        label = torch.as_tensor(sample["label"])
        save_picture(picture(sample["image"]), images / f"{name}.png")
        if label.ndim:
            save_picture(label_picture(label), labels / f"{name}.png")
        else:
            classes[name] = int(label)
    if classes:
        labels = folder / "classes.json"
        write_whole(labels, json.dumps(classes, indent=1) + "\n")
    return images, labels


def write_grey(labels: Path, folder: Path) -> Path:
    """Write a grey picture of each label map's name and size: of what was drawn as labels there is no other.

    Args:
        labels: a folder of label maps, or one of them.
        folder: gets `images/`.

    Returns:
        Where the pictures are.

    Raises:
        DataError: if there are no label maps, or one cannot be read.
    """
    maps = [labels / name for name in files_below(labels, image_endings())] if labels.is_dir() else [labels]
    if not maps or not all(path.is_file() for path in maps):
        raise DataError(f"--labels {labels}: no label maps; give pictures to paint on as --images")
    for path in maps:
        name = path.relative_to(labels).with_suffix("") if labels.is_dir() else Path(path.stem)
        height, width = upright_size(path)
        save_picture(Image.new("RGB", (width, height), (128, 128, 128)), folder / "images" / f"{name}.png")
    return folder / "images"
