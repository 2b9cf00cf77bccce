"""Transformations of images that look at no network: what takes away, and what leaves, which cue."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from attacks.adversary import Adversary

_LARGEST = 2**22
"""Numbers in the images that a median filter works on at once; it holds some ten times as many."""


class Transformation(Adversary):
    """Changes images without a look at the network; a subclass says what becomes of whole images.

    Of an image with padding, what is transformed is the rectangle around its `region`: padding does not move, and
    nothing of it comes into the picture.
    """

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        if region is None or bool(region.all()):
            return self.transform(image, seed).clamp(0, 1)
        result = image.clone()
        for i, inside in enumerate(region.squeeze(1)):
            rows, columns = (inside.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
            if rows:  # else all is padding
                window = result[i : i + 1, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                window.copy_(self.transform(window, seed[i : i + 1]).clamp(0, 1))
        return torch.where(region, result, image)

    @abstractmethod
    def transform(self, image: Tensor, seed: Tensor) -> Tensor:
        """What becomes of images without padding, `(B, 3, H, W)` in `[0, 1]`; chance is a function of `seed`."""


class GaussianBlur(Transformation):
    """Blurs with a Gaussian: fine and coarse edges alike fade (Itazuri et al. 2019, sec. 4.1, Figure 5).

    Borders are mirrored at the outermost pixels, as often as the kernel needs.

    Args:
        sigma: standard deviation in pixels of the network's input; 0 leaves the image as it is.
        kernel_size: width of the kernel in pixels, odd; beyond, the Gaussian is cut off.

    Raises:
        ValueError: on a sigma below 0, or a kernel_size that is even or below 1.
    """

    def __init__(self, sigma: float, kernel_size: int = 31) -> None:
        if not 0 <= sigma < math.inf:
            raise ValueError(f"GaussianBlur(sigma={sigma}): sigma is a number of pixels, 0 or more")
        self.sigma, self.kernel_size = sigma, _odd(kernel_size, "GaussianBlur")

    def transform(self, image: Tensor, seed: Tensor) -> Tensor:
        if self.sigma == 0:
            return image
        rows, columns = (self._weights(length, image) for length in image.shape[-2:])
        return rows @ image @ columns.T

    def _weights(self, length: int, like: Tensor) -> Tensor:
        """What each pixel of a line takes from each, `(length, length)`: mirrored pixels count where they come from."""
        offsets = torch.arange(self.kernel_size) - self.kernel_size // 2
        kernel = (-((offsets.double() / self.sigma) ** 2) / 2).exp()
        places = _mirrored(torch.arange(length).unsqueeze(1) + offsets, length)
        weights = torch.zeros(length, length, dtype=kernel.dtype)
        return weights.scatter_add_(1, places, (kernel / kernel.sum()).expand(length, -1)).to(like)


class MedianFilter(Transformation):
    """Replaces each pixel by the median around it, channel by channel, again and again (Itazuri et al. 2019, Figure 7).

    Weak edges and noise go, strong edges stay (sec. 4.1). Borders are mirrored at the outermost pixels.

    Args:
        passes: how many times; 0 leaves the image as it is.
        kernel_size: side of the square in pixels, odd.

    Raises:
        ValueError: on passes below 0, or a kernel_size that is even or below 1.
    """

    def __init__(self, passes: int, kernel_size: int = 3) -> None:
        if passes < 0:
            raise ValueError(f"MedianFilter(passes={passes}): passes is a number of times, 0 or more")
        self.passes, self.kernel_size = passes, _odd(kernel_size, "MedianFilter")

    def transform(self, image: Tensor, seed: Tensor) -> Tensor:
        for _ in range(self.passes):
            parts = image.split(max(1, _LARGEST // max(1, math.prod(image.shape[1:]))))
            image = torch.cat([self._filtered(part) for part in parts])
        return image

    def _filtered(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        rows, columns = (
            _mirrored(torch.arange(length + self.kernel_size - 1) - self.kernel_size // 2, length).to(image.device)
            for length in (height, width)
        )
        wide = image[..., rows.unsqueeze(1), columns]
        offsets = range(self.kernel_size)
        return median([wide[..., y : y + height, x : x + width] for y in offsets for x in offsets])


class ColorReversal(Transformation):
    """Reverses colours, 1 - x: shapes and textures stay (Itazuri et al. 2019, sec. 4.1, Table 2)."""

    def transform(self, image: Tensor, seed: Tensor) -> Tensor:
        return 1 - image


def median(values: list[Tensor]) -> Tensor:
    """The median of an odd number of tensors, place by place.

    Of more than half of them and one, neither the least nor the greatest can be it: they are dropped, the next one is
    looked at. On a CPU it takes a third of `torch.median`'s time.
    """
    half = len(values) // 2 + 2
    kept, waiting = values[:half], values[half:]
    while len(kept) > 1:
        for i in range(len(kept) - 1):  # the greatest to the end
            kept[i], kept[i + 1] = torch.minimum(kept[i], kept[i + 1]), torch.maximum(kept[i], kept[i + 1])
        kept.pop()
        for i in reversed(range(len(kept) - 1)):  # the least to the front
            kept[i], kept[i + 1] = torch.minimum(kept[i], kept[i + 1]), torch.maximum(kept[i], kept[i + 1])
        kept = kept[1:] + waiting[:1]
        waiting = waiting[1:]
    return kept[0]


def _mirrored(places: Tensor, length: int) -> Tensor:
    """The places inside a line that places beside it are mirrored from: -1 is 1, and so is 1 of the next mirror."""
    period = max(1, 2 * (length - 1))
    places = places.remainder(period)
    return torch.minimum(places, period - places)


def _odd(kernel_size: int, name: str) -> int:
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"{name}(kernel_size={kernel_size}): kernel_size is a number of pixels, odd and 1 or more")
    return kernel_size
