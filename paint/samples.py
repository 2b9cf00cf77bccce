"""Pictures to paint on where a person has none: validation samples of a run, or grey for a label map."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from PIL import Image

from callbacks.synthesis.callback import spread
from callbacks.synthesis.pictures import label_picture, picture
from command_line import UserError
from datamodules.files import files_below, path_of
from datamodules.images import DataError, image_endings, upright_size
from paint.folder import GIVEN, check_folder
from reports.files import write_whole
from reports.gallery import save_picture
from trained_network import Trained


@contextmanager
def given(config: Namespace, first: Trained) -> Iterator[None]:
    """Where no pictures are given, others are written: samples, or grey for label maps. After a mistake they go."""
    if config.images is not None:
        if config.samples is not None:
            raise UserError(f"--images {config.images} and --samples {config.samples}: the one or the other")
        yield
        return
    out = path_of(config.out)
    check_folder(out)
    # Others' are not replaced, though it turns out later that the folder is theirs.
    kept = f"samples_{config.samples}" if config.samples else "grey"
    of = hashlib.sha256(json.dumps([first.weights, config.labels]).encode()).hexdigest()[:8]
    folder = out / GIVEN / f"{kept}_{of}"
    new = next((each for each in (out, out / GIVEN, folder) if not each.exists()), None)
    try:
        if config.samples is not None:
            if first.validation_images is None:
                raise UserError("--samples: they are those of a --run; give --images")
            images, labels = write_samples(first.validation_images(), config.samples, folder)
            config.labels = config.labels or str(labels)
            config.size = config.size or "full"
        elif config.labels is not None:
            images = write_grey(path_of(config.labels), folder)
        else:
            raise UserError("paint: no pictures; give --images FOLDER, or --samples 8 of the run")
        config.images = str(images)
        yield
    except BaseException:
        if new is not None:
            shutil.rmtree(new, ignore_errors=True)
        raise


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
