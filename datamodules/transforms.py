"""What happens to images, label maps and boxes between disk and batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from datamodules.images import IGNORE_INDEX


class RandomScaleCrop:
    """Scales the short side to a random length, flips and crops at random, as torchvision's segmentation reference.

    The window is cut out before it is scaled, not after: the same picture but for rounding, in half the time. A pixel's
    label is that of the pixel nearest to its centre, as in the reference, which works on PIL images. What a picture
    smaller than the crop leaves open is black, void and outside the region.

    Args:
        crop: side of the square crops, in pixels.
        scale: range of the short side's length, in pixels.
        flip: probability of a horizontal flip.
    """

    def __init__(self, crop: int, scale: tuple[int, int], flip: float) -> None:
        self.crop, self.scale, self.flip = crop, scale, flip

    def __call__(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From uint8 `(3, H, W)` and `(H, W)` to image float32, label uint8 and region bool of the crop's size."""
        height, width = label.shape
        short = _draw(*self.scale)
        whole = [side * short // min(height, width) for side in (height, width)]
        size = [min(self.crop, side) for side in whole]
        window = [max(1, round(side * s / w)) for side, s, w in zip((height, width), size, whole, strict=True)]
        top, left = _draw(0, height - window[0]), _draw(0, width - window[1])
        part = (..., slice(top, top + window[0]), slice(left, left + window[1]))
        image, label = _resized(image[part], label[part], size)
        if torch.rand(()) < self.flip:
            image, label = image.flip(-1), label.flip(-1)
        above, before = _draw(0, self.crop - size[0]), _draw(0, self.crop - size[1])
        padding = (before, self.crop - size[1] - before, above, self.crop - size[0] - above)
        region = torch.ones(size, dtype=torch.bool)
        if any(padding):
            image, label = pad(image, padding), pad(label, padding, value=IGNORE_INDEX)
            region = pad(region, padding)
        return _to_float(image), label, region


class Resize:
    """Scales to a short side (int), to a height and width, or not at all (None).

    Images bilinearly with antialiasing. In label maps, a pixel's label is that of the pixel nearest to its centre, so
    that they lie over their images: as Pillow has it, and not torchvision on tensors, which takes what lies under the
    pixel's top left corner.
    """

    def __init__(self, size: int | Sequence[int] | None) -> None:
        self.size = [size] if isinstance(size, int) else size

    def __call__(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From uint8 `(3, H, W)` and `(H, W)` to image float32, label uint8 and a region that is all of it."""
        if self.size is not None:
            image, label = _resized(image, label, self.size)
        return _to_float(image), label, torch.ones(label.shape, dtype=torch.bool)

    def image(self, image: Tensor) -> Tensor:
        """The same for an image alone."""
        return _to_float(image if self.size is None else F.resize_image(image, list(self.size)))


def _draw(low: int, high: int) -> int:
    """A random integer, both ends included, from torch's generator: each worker has its own."""
    return int(torch.randint(low, high + 1, ()))


def _resized(image: Tensor, label: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    image = F.resize_image(image, list(size), antialias=True)
    rows, columns = (_nearest(*sides) for sides in zip(label.shape, image.shape[1:], strict=True))
    return image, torch.from_numpy(label.numpy().take(rows, 0).take(columns, 1))


def _nearest(length: int, new: int) -> np.ndarray:
    """Of a line of pixels, those nearest to the centres of `new` ones over the same line.

    Of two that are equally near, the inner one (Pillow: the right one), so that mirror images have mirrored labels.
    """
    nearest = (2 * np.arange(new) + 1) * length // (2 * new)
    half = new // 2
    nearest[new - half :] = length - 1 - nearest[:half][::-1]
    return nearest


def _to_float(image: Tensor) -> Tensor:
    return F.to_dtype_image(image.as_subclass(Tensor), torch.float32, scale=True)


class Lighting(nn.Module):
    """Adds random amounts of ImageNet's principal colours to an image (Krizhevsky et al. 2012, sec. 4.1).

    Args:
        std: standard deviation of the amounts; 0.05 in the `robustness` library, 0.1 in the paper.
    """

    EIGENVALUES = torch.tensor([0.2175, 0.0188, 0.0045])
    EIGENVECTORS = torch.tensor([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, sample: dict[str, Tensor]) -> dict[str, Tensor]:
        color = self.EIGENVECTORS @ (torch.randn(3) * self.std * self.EIGENVALUES)
        return {**sample, "image": (sample["image"] + color.view(3, 1, 1)).clamp(0, 1)}


def photograph_training(
    resize: int | Sequence[int],
    crop: int,
    scale: tuple[float, float] | None,
    flip: float,
    jitter: float,
    lighting: float,
) -> v2.Compose:
    """Of samples with an `image` and perhaps a `box`: a random part, flipped, its colours changed.

    The part is of a random size, `scale`, and made `crop` large; without, it is cut out of the resized image.
    """
    resized = [v2.Resize(resize, antialias=True), v2.RandomCrop(crop)]
    return v2.Compose(
        [
            *(resized if scale is None else [v2.RandomResizedCrop(crop, scale, antialias=True)]),
            v2.RandomHorizontalFlip(flip),
            *([v2.ColorJitter(jitter, jitter, jitter)] if jitter else []),
            *_to_tensors(),
            *([Lighting(lighting)] if lighting else []),
        ]
    )


def photograph_evaluation(resize: int | Sequence[int], crop: int) -> v2.Compose:
    """Of samples or images: the middle, after the short side was resized, or both sides."""
    return v2.Compose([v2.ToImage(), v2.Resize(resize, antialias=True), v2.CenterCrop(crop), *_to_tensors()])


def small_training(size: int, padding: int, flip: float, resize: bool = False) -> v2.Compose:
    """Of small images: resized where that is to be done, shifted by up to `padding` pixels over black, and flipped."""
    resized = [v2.Resize((size, size), antialias=True)] if resize else []
    shift = [v2.RandomCrop(size, padding=padding)] if padding else []
    mirror = [v2.RandomHorizontalFlip(flip)] if flip else []
    return v2.Compose([*resized, *shift, *mirror, *_to_tensors()])


def _to_tensors() -> list[v2.Transform]:
    to_float = v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)
    return [to_float, v2.ClampBoundingBoxes(), v2.ToPureTensor()]
