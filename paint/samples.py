"""Validation samples of a run as files to paint on, where a person has none of their own."""

import json
from pathlib import Path
from typing import Any

import torch

from callbacks.synthesis.callback import spread
from callbacks.synthesis.pictures import label_picture, picture
from datamodules.images import DataError
from reports.files import write_whole
from reports.gallery import save_picture


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
