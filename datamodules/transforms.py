"""What happens to images and label maps between disk and batch, as torchvision's segmentation reference does it."""

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from datamodules.samples import IGNORE_INDEX


def train_transform(crop: int, scale: tuple[int, int], flip: float) -> v2.Compose:
    """Resize the short side to a random length of `scale`, flip with probability `flip`, crop at random.

    What the crop pads is black, void and outside the region.
    """
    return v2.Compose(
        [
            v2.RandomResize(scale[0], scale[1] + 1),
            v2.RandomHorizontalFlip(flip),
            v2.RandomCrop(crop, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORE_INDEX}),
            *_to_tensors(),
        ]
    )


def eval_transform(size: int | tuple[int, int] | None) -> v2.Compose:
    """Resize the short side (or to a fixed height and width, or not at all); the labels are resized alike."""
    resize = [] if size is None else [v2.Resize(size if isinstance(size, int) else list(size))]
    return v2.Compose([*resize, *_to_tensors()])


def _to_tensors() -> list[v2.Transform]:
    return [v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True), v2.ToPureTensor()]
