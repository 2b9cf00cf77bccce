"""Where a picture is painted: squares at places, on objects or anywhere, and masks from image files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from attacks.objectives import valid_pixels
from attacks.seeds import uniform

Place = tuple[float, float]
"""A square's place, down and to the right, as fractions of the way from the top left, (0, 0), to the bottom right."""


def check_places(places: Sequence[Place]) -> None:
    """Raises ValueError if one lies outside the image."""
    if not all(0 <= at <= 1 for place in places for at in place):
        raise ValueError(f"places={list(places)} lie between (0, 0) and (1, 1)")


def square_at(place: Place, image: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks with a square of `size` at one place, bool `(B, 1, H, W)`; at most half the image in each direction."""
    height, width = _fit(size, image)
    corner = [round(place[0] * (image.shape[-2] - height)), round(place[1] * (image.shape[-1] - width))]
    return _squares(image, [corner] * len(image), size)


def random_square(image: Tensor, seed: Tensor, size: tuple[int, int], objects: Tensor | None = None) -> Tensor:
    """Masks with a square centred on a random pixel, bool `(B, 1, H, W)`.

    Args:
        image: `(B, 3, H, W)`.
        seed: int64 `(B,)`.
        size: height and width; at most half the image in each direction.
        objects: bool `(B, H, W)`, which pixels are chosen from; any, where there is none.
    """
    height, width = _fit(size, image)
    corners = []
    for i, u in enumerate(uniform(image[:, 0, :1, 0].cpu().double(), seed)[:, 0].tolist()):
        everywhere = torch.ones(image.shape[-2:], dtype=torch.bool)
        wanted = everywhere if objects is None or not objects[i].any() else objects[i].cpu()
        points = wanted.nonzero()
        y, x = points[int(u * len(points))].tolist()
        top = min(max(y - height // 2, 0), image.shape[-2] - height)
        left = min(max(x - width // 2, 0), image.shape[-1] - width)
        corners.append([top, left])
    return _squares(image, corners, size)


def objects_of(label: Tensor) -> Tensor | None:
    """The pixels of objects, any class but 0, bool `(B, H, W)`; None for image-level labels."""
    return valid_pixels(label) & (label != 0) if label.ndim > 1 else None


def read_mask(path: Path) -> Tensor:
    """A mask from an image file, bool `(1, H, W)`: true where it is white, from half grey on.

    Raises:
        ValueError: if it is no picture, or all black.
    """
    try:
        with Image.open(path) as picture:
            mask = torch.from_numpy(np.array(picture.convert("L")) >= 128).unsqueeze(0)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: no picture that can be read ({error}); give a mask as PNG") from error
    if not mask.any():
        raise ValueError(f"{path}: the mask has no pixel inside; paint white where the picture is to be made up")
    return mask


def masks_in(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The masks of a folder, or that of a file, by name."""
    files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"masks={path}: an empty folder; put masks into it, as PNG")
    for file in files:
        yield file.stem, read_mask(file)


def scaled(mask: Tensor, image: Tensor) -> Tensor:
    """A mask for each image, bool `(B, 1, H, W)`, at their size."""
    resized = F.interpolate(mask[None].float(), image.shape[-2:], mode="nearest-exact").bool()
    return resized.to(image.device).expand(len(image), -1, -1, -1)


def _fit(size: tuple[int, int], image: Tensor) -> tuple[int, int]:
    return min(size[0], image.shape[-2] // 2), min(size[1], image.shape[-1] // 2)


def _squares(image: Tensor, corners: list[list[int]], size: tuple[int, int]) -> Tensor:
    height, width = _fit(size, image)
    mask = torch.zeros(len(image), 1, *image.shape[-2:], dtype=torch.bool, device=image.device)
    for i, (top, left) in enumerate(corners):
        mask[i, :, top : top + height, left : left + width] = True
    return mask
