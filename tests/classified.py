"""What tests of labelled images share: what a data set should hold, and damage to its files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny_classification import drawing

from datamodules.samples import ClassifiedImages

DAMAGE = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "page": lambda content: b"<html>404 Not Found</html>\n",
}
"""What can happen to a file on its way."""


def damage(path: Path, how: str) -> None:
    path.write_bytes(DAMAGE[how](path.read_bytes()))


def as_windows_saves(path: Path) -> None:
    """A text file after an editor of Windows: a byte order mark, line ends of two characters, and blank lines."""
    lines = path.read_text().splitlines()
    path.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n \r\n\r\n").encode())


def as_stored(dataset: ClassifiedImages) -> ClassifiedImages:
    """The same set without its transform."""
    dataset.transform = dict
    return dataset


def names_of(dataset: ClassifiedImages, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in dataset.images]


def check_files(
    dataset: ClassifiedImages, root: Path, expected: Sequence[tuple[str, int]], grey: Sequence[str] = (), size=()
) -> None:
    """The set holds the files of these names, in order, with these labels; each shows its drawing."""
    assert names_of(dataset, root) == [name for name, _ in expected]
    assert set(grey) <= set(names_of(dataset, root))
    for index, (sample, (name, label)) in enumerate(zip(as_stored(dataset), expected, strict=True)):
        assert (sample["label"], sample["index"]) == (label, index)
        drawn = Image.fromarray(drawing(name, *size)).convert("L" if name in grey else "RGB").convert("RGB")
        assert sample["image"].dtype == torch.uint8
        assert np.abs(pixels(sample) - np.asarray(drawn, dtype=float)).mean() < 6, name


def pixels(sample: dict) -> np.ndarray:
    """The image of a sample, height by width by channels, from 0 to 255."""
    image = sample["image"].numpy().transpose(1, 2, 0).astype(float)
    return image if sample["image"].dtype == torch.uint8 else image * 255


def middle(picture: np.ndarray, resize: int, crop: int) -> np.ndarray:
    """What evaluation shows of a picture, as Pillow sees it."""
    image = Image.fromarray(picture).convert("RGB")
    short = min(image.size)
    width, height = (resize * side // short for side in image.size)
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    image = image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + crop, top + crop))
    return np.asarray(image, dtype=float)


def check_batch(batch: dict, samples: int, size: int, classes: int) -> None:
    assert batch["image"].shape == (samples, 3, size, size) and batch["image"].dtype == torch.float32
    assert batch["image"].min() >= 0 and batch["image"].max() <= 1 and batch["image"].std() > 0.05
    for key in ("label", "index"):
        assert batch[key].shape == (samples,) and batch[key].dtype == torch.int64
    assert batch["label"].min() >= 0 and batch["label"].max() < classes
    assert {*batch} - {"box"} == {"image", "label", "index"}
