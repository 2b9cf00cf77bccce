"""What data sets of small images of one size share: they are kept in memory."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from datamodules.base import DataModule, Split, check_range
from datamodules.files import path_of
from datamodules.images import DataError, reading
from datamodules.lists import whole_numbers
from datamodules.samples import ClassifiedImages
from datamodules.transforms import photograph_evaluation, small_training

_IN_MEMORY = 4
"""Images enlarged to more times their pixels are resized one by one: 50,000 of 224 x 224 take 7.5 GB."""


class SmallImages(DataModule):
    """Small images with one label each, kept in memory: shifted and flipped for training, whole for evaluation.

    Grey images come as three equal channels. The validation set is the test set, unless said otherwise.

    Args:
        root: the data set's folder.
        size: height and width in pixels; images of another size are resized, as for networks that were trained on
            photographs.
        padding: training images are shifted by up to this many pixels, over black.
        flip: probability of a horizontal flip in training.
        batch_size: training samples per step and device.
        eval_batch_size: evaluation samples per step and device.
        num_workers: processes per device that read data.
        predict_images: folder of images for `predict`.
    """

    def __init__(
        self,
        root: str,
        size: int = 32,
        padding: int = 4,
        flip: float = 0.5,
        batch_size: int = 128,
        eval_batch_size: int = 256,
        num_workers: int = 2,
        predict_images: str | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, predict_images)
        check_range("size", size, 1)
        check_range("padding", padding, 0)
        check_range("flip", flip, 0, 1)
        self.root = path_of(root)
        self.size, self.padding, self.flip = size, padding, flip

    @abstractmethod
    def read(self, split: Split) -> tuple[np.ndarray | Tensor, Sequence[int] | np.ndarray | Tensor]:
        """The images of a split, uint8 `(N, 3, H, W)` or `(N, H, W)`, and their labels, `(N,)`."""

    def make_set(self, split: Split) -> ClassifiedImages:
        with reading(self.root):
            stored, stored_labels = self.read(split)
            images, labels = torch.as_tensor(np.ascontiguousarray(stored)), whole_numbers(stored_labels)
        images = images if images.ndim == 4 else images.unsqueeze(1)
        if len(images) != len(labels) or not len(labels):
            found = f"{len(images)} images and {len(labels)} labels"
            raise DataError(f"{self.root}: {found} in the {split} split; fetch the data set again")
        if labels.ndim != 1:
            raise DataError(f"{self.root}: labels that are no whole numbers, one an image; fetch the data set again")
        if images.dtype != torch.uint8:
            raise DataError(f"{self.root}: images of {images.dtype} instead of bytes; fetch the data set again")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            wrong = int(labels.max() if labels.max() >= len(self.classes) else labels.min())
            raise DataError(f"{self.root}: label {wrong} outside the {len(self.classes)} classes; fetch it again")
        size = (self.size, self.size)
        if images.shape[-2:] != size and self.size**2 <= _IN_MEMORY * images.shape[-2] * images.shape[-1]:
            images = F.resize(images, [*size], antialias=True)
        padding, flip = (self.padding, self.flip) if split == "train" else (0, 0)
        return ClassifiedImages(images, labels, small_training(self.size, padding, flip, images.shape[-2:] != size))

    def predict_transform(self) -> Callable[[Tensor], Tensor]:
        return photograph_evaluation(self.size, self.size)
