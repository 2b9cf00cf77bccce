"""What data sets of photographs with one label each share."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from datamodules.base import DataModule, Split, check_range
from datamodules.files import SIDE_FOLDERS, files_below, path_of
from datamodules.images import DataError
from datamodules.paths import Paths
from datamodules.samples import ClassifiedImages
from datamodules.transforms import photograph_evaluation, photograph_training


class Listing(NamedTuple):
    """The files of a split, the class of each, and perhaps a box: left, top, right and bottom, `(N, 4)`."""

    images: Sequence[Path]
    labels: Sequence[int] | np.ndarray
    boxes: np.ndarray | None = None


class Photographs(DataModule):
    """Photographs with one label each: a random part of each for training, the middle for evaluation.

    The defaults are those of the `robustness` library. The validation set is the test set, unless said otherwise.

    Args:
        root: the data set's folder.
        crop: height and width of what the network sees, in pixels.
        resize: short side in evaluation, before the middle is cut out; or height and width, whatever the aspect.
        scale: range of the share of its area that a training image shows; null cuts the crop out of the resized image.
        flip: probability of a horizontal flip in training.
        jitter: range of random changes of brightness, contrast and saturation in training.
        lighting: standard deviation of random changes along ImageNet's principal colours in training.
        batch_size: training samples per step and device.
        eval_batch_size: evaluation samples per step and device.
        num_workers: processes per device that read data.
        predict_images: folder of images for `predict`.
    """

    def __init__(
        self,
        root: str,
        crop: int = 224,
        resize: int | tuple[int, int] = 256,
        scale: tuple[float, float] | None = (0.08, 1.0),
        flip: float = 0.5,
        jitter: float = 0.1,
        lighting: float = 0.05,
        batch_size: int = 128,
        eval_batch_size: int = 128,
        num_workers: int = 8,
        predict_images: str | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, predict_images)
        check_range("crop", crop, 1)
        if scale is not None:
            check_range("scale", scale, 0, 1)
            check_range("scale's upper end", scale[1], scale[0], 1)
        check_range("flip", flip, 0, 1)
        check_range("jitter", jitter, 0)
        check_range("lighting", lighting, 0)
        if crop > (resize if isinstance(resize, int) else min(resize)):
            raise DataError(f"crop={crop} of images resized to {resize} would be framed in black; raise --data.resize")
        self.root = path_of(root)
        self.crop, self.resize, self.scale = crop, resize, scale
        self.flip, self.jitter, self.lighting = flip, jitter, lighting

    @abstractmethod
    def files(self, split: Split) -> Listing:
        """The files of a split and their classes; sets `classes` where that depends on the files."""

    def setup(self, stage: str) -> None:
        if stage == "predict" and not self.classes:
            with suppress(DataError):  # only the names of the classes are wanted; predictions can do without
                self.files("train")
        super().setup(stage)

    def make_set(self, split: Split) -> ClassifiedImages:
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set --data.root to the data set")
        images, labels, boxes = self.files(split)
        wrong = [label for label in np.unique(labels) if not 0 <= label < len(self.classes)]
        if wrong:
            raise DataError(
                f"{self.root}: label {wrong[0]} outside the {len(self.classes)} classes; export or fetch it again"
            )
        if split == "train":
            transform = photograph_training(self.resize, self.crop, self.scale, self.flip, self.jitter, self.lighting)
        else:
            transform = photograph_evaluation(self.resize, self.crop)
        return ClassifiedImages(images, labels, transform, boxes, self.own_files)

    def predict_transform(self) -> Callable[[Tensor], Tensor]:
        return photograph_evaluation(self.resize, self.crop)


def class_folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order; hidden ones are left out."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [name for name in names if name[0] != "." and name not in SIDE_FOLDERS]


def by_folder(folder: Path, remedy: str) -> dict[str, list[str]]:
    """The images of each class, the name of a folder below `folder`: their paths below `folder`, in order.

    Raises DataError, which ends with the remedy, if there are none.
    """
    found = {name: [f"{name}/{image}" for image in files_below(folder / name)] for name in class_folders(folder)}
    found = {name: images for name, images in found.items() if images}
    if not found:
        raise DataError(f"{folder}: no such folder, or no folders of images in it; {remedy}")
    return found


def listing(root: Path, images: dict[str, list[str]], labels: dict[str, int]) -> Listing:
    """Images by class, as paths below a root, with the labels of their classes."""
    paths = Paths(root, (path for paths in images.values() for path in paths))
    return Listing(paths, np.repeat([labels[name] for name in images], [len(paths) for paths in images.values()]))
