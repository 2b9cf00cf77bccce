"""Data sets: the samples of a batch, made from files or arrays."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from datamodules.images import IGNORE_INDEX, DataError, check_labels, image_endings, read_image, read_label_map


class LabelFiles:
    """Reads the label map of image i from the i-th of `paths`; the values in `void` become 255."""

    def __init__(self, paths: Sequence[Path], void: Sequence[int] = ()) -> None:
        self.paths, self.void = paths, void

    def __call__(self, index: int) -> np.ndarray:
        label = read_label_map(self.paths[index])
        return np.where(np.isin(label, self.void), IGNORE_INDEX, label) if self.void else label


class LabelledImages(Dataset[dict[str, Any]]):
    """Images with label maps: samples of `image`, `label`, `index`, and `region`, false on padding.

    Args:
        images: the image files.
        read_label: gives the label map of image i: an integer array `(H, W)`, 255 = void.
        num_classes: labels lie in `[0, num_classes)` or are 255.
        transform: from image and label map, uint8, to image float32, label map and region.
        upright: turn images as their EXIF tags say; those of published data sets are used as they are stored.
    """

    def __init__(
        self,
        images: Sequence[Path],
        read_label: Callable[[int], np.ndarray],
        num_classes: int,
        transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
        upright: bool = False,
    ) -> None:
        if num_classes > IGNORE_INDEX:
            raise DataError(f"{num_classes} classes: a label map holds at most {IGNORE_INDEX}, since 255 means void")
        self.images, self.read_label, self.num_classes, self.transform = images, read_label, num_classes, transform
        self.upright = upright

    def __len__(self) -> int:
        return len(self.images)

    def sample_name(self, index: int) -> str:
        """The image's file, with its folder."""
        return "/".join(self.images[index].parts[-2:])

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.images[index]
        image = read_image(path, self.upright)
        label = self.read_label(index)
        if label.shape != image.shape[-2:]:
            sizes = f"the image is {tuple(image.shape[-2:])} pixels, its label map {label.shape}"
            raise DataError(f"{path}: {sizes}; give both one size")
        check_labels(label, self.num_classes, path)
        pixels, classes, region = self.transform(image, torch.from_numpy(label.astype(np.uint8)))
        return {"image": pixels, "label": classes.long(), "region": region.unsqueeze(0), "index": index}


class ClassifiedImages(Dataset[dict[str, Any]]):
    """Images with a class each: samples of `image`, `label`, `index`, and `box` where there are boxes.

    A box is float32 `(4,)`: left, top, right and bottom in pixels of the image that the sample holds.

    Args:
        images: the image files, or the images themselves: uint8 `(N, 1 or 3, H, W)`.
        labels: the classes, `(N,)`.
        transform: of torchvision's v2, applied to image and box together.
        boxes: left, top, right and bottom, `(N, 4)`, in pixels of the stored images.
    """

    def __init__(
        self,
        images: Sequence[Path] | Tensor,
        labels: Sequence[int] | np.ndarray,
        transform: Callable[[dict[str, Any]], dict[str, Any]],
        boxes: np.ndarray | None = None,
    ) -> None:
        self.images, self.labels, self.transform = images, np.asarray(labels, dtype=np.int64), transform
        self.boxes = boxes

    def __len__(self) -> int:
        return len(self.labels)

    def sample_name(self, index: int) -> str:
        """The image's file, with its folder; its place, where there is no file of its own."""
        stored = self.images[index]
        return str(index) if isinstance(stored, Tensor) else "/".join(stored.parts[-2:])

    def __getitem__(self, index: int) -> dict[str, Any]:
        stored = self.images[index]
        image = tv_tensors.Image(stored.expand(3, -1, -1)) if isinstance(stored, Tensor) else read_image(stored)
        sample: dict[str, Any] = {"image": image}
        if self.boxes is not None:
            box = torch.tensor(self.boxes[index], dtype=torch.float32)
            size: Any = tuple(image.shape[-2:])
            sample["box"] = tv_tensors.BoundingBoxes(box[None], format="XYXY", canvas_size=size)
        sample = self.transform(sample)
        if "box" in sample:
            sample["box"] = sample["box"][0]
        return {**sample, "label": int(self.labels[index]), "index": index}


class UnlabelledImages(Dataset[dict[str, Any]]):
    """The images of a folder and those below, for prediction.

    Samples of `image`, `index`, the file's `path`, its `name` (the path below the folder, without its ending, two of
    which must not be the same) and its `size` (H, W) in pixels.
    """

    def __init__(self, folder: Path, transform: Callable[[Tensor], Tensor]) -> None:
        readable = image_endings()
        files = sorted(folder.rglob("*")) if folder.is_dir() else []
        self.images = [path for path in files if path.suffix.lower() in readable and path.name[0] != "."]
        if not self.images:
            raise DataError(f"{folder}: no folder with images to predict")
        self.names = [str(path.relative_to(folder).with_suffix("")) for path in self.images]
        twice = next((name for name, times in Counter(self.names).items() if times > 1), None)
        if twice:
            raise DataError(f"{folder / twice}: two images have this name but for their endings; rename one")
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = read_image(self.images[index])
        size = tuple(image.shape[-2:])
        file = {"path": str(self.images[index]), "name": self.names[index], "size": size}
        return {"image": self.transform(image), "index": index, **file}
