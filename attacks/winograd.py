"""Convolutions of 3 x 3 with 2.25 times fewer products (Winograd; Lavin and Gray 2016, F(2 x 2, 3 x 3))."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHANNELS = 256
"""From how many channels on, in and out, fewer products outweigh the sums around them."""

FLOATS = 1 << 21
"""How many values the transformed tiles of one turn may have: more take memory, fewer read the weights too often."""

KERNEL = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""G of the paper: what becomes of a column of three weights."""

TURNED = (3, 1, 2, 0)
"""Where the weights of a kernel turned by half are found: the gradient of a convolution is one with those."""


def serves(convolution: nn.Module, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a convolution is better computed this way: on CPUs only, as cuDNN knows of it by itself."""
    if type(convolution) is not nn.Conv2d or device.type != "cpu" or dtype not in (torch.float32, torch.float64):
        return False
    return (
        convolution.kernel_size == (3, 3)
        and convolution.stride == (1, 1)
        and convolution.groups == 1
        and convolution.padding_mode == "zeros"
        and convolution.dilation[0] == convolution.dilation[1]
        and convolution.padding in ("same", convolution.dilation)
        and min(convolution.in_channels, convolution.out_channels) >= CHANNELS
    )


def transformed(weight: Tensor, out: Tensor | None = None) -> Tensor:
    """Weights `(O, C, 3, 3)` as the products take them, `(16, O, C)`."""
    out = weight.new_empty(16, *weight.shape[:2]) if out is None else out
    torch.mm(torch.kron(KERNEL, KERNEL).to(weight), weight.reshape(-1, 9).T, out=out.view(16, -1))
    return out


def convolve(image: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """What `conv2d` gives with a padding of `dilation`, but for rounding; it has first derivatives to `image`.

    Args:
        image: `(B, C, H, W)`.
        weight: `transformed`, `(16, O, C)`.
        bias: `(O,)`.
        dilation: of both directions.
    """
    result: Tensor = _Convolution.apply(image, weight, bias, dilation)
    return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
        ctx.weight, ctx.dilation = weight, dilation
        return _in_turns(image, weight.transpose(1, 2), bias, dilation, range(4))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _in_turns(gradient, ctx.weight, None, ctx.dilation, TURNED), None, None, None


def _in_turns(image: Tensor, weight: Tensor, bias: Tensor | None, dilation: int, order: Sequence[int]) -> Tensor:
    """As many images, or of one image as many rows of tiles, at a time as `FLOATS` allows.

    Args:
        order: in which row, and column, of the transformed weights those of a kernel are found.
    """
    count, _, height, width = image.shape
    shape = (count, weight.shape[2], height, width)
    result = torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=torch.channels_last)
    rows, columns = -(-height // (2 * dilation)), -(-width // (2 * dilation))
    a_row = 16 * max(weight.shape[1:]) * columns * dilation**2
    images, at_once = max(1, FLOATS // (a_row * rows)), max(1, FLOATS // a_row)
    margins = (dilation, dilation * (2 * columns + 1) - width, dilation, dilation * (2 * rows + 1) - height)
    parts = (each.permute(0, 2, 3, 1).split(images) for each in (image, result))
    for given, out in zip(*parts, strict=True):
        phases = F.pad(given, (0, 0, *margins)).unflatten(2, (-1, dilation)).unflatten(1, (-1, dilation))
        for first in range(0, rows, at_once):
            lines = slice(2 * first * dilation, 2 * (first + at_once) * dilation)
            whole = _convolved(phases[:, 2 * first : 2 * (first + at_once) + 2], weight, order)
            torch.add(whole[:, : height - lines.start, :width], 0 if bias is None else bias, out=out[:, lines])
    return result


def _convolved(phases: Tensor, weight: Tensor, order: Sequence[int]) -> Tensor:
    """Tiles of 4 x 4 pixels that overlap by two become tiles of 2 x 2; those of a dilated convolution are interleaved.

    Args:
        phases: `(B, 2 R + 2, D, 2 S + 2, D, C)`, rows and columns of pixels, each in D phases.
        weight: `(16, C, O)`.
        order: see above.

    Returns:
        `(B, 2 R D, 2 S D, O)`.
    """
    count, rows, dilation, columns = len(phases), phases.shape[1] // 2 - 1, phases.shape[2], phases.shape[3] // 2 - 1
    tiles = phases.new_empty(4, 4, count, rows, dilation, columns, dilation, phases.shape[-1])
    for row, lines in zip(order, _differences([phases[:, k : k + 2 * rows - 1 : 2] for k in range(4)]), strict=True):
        parts = [lines[:, :, :, k : k + 2 * columns - 1 : 2] for k in range(4)]
        _differences(parts, [tiles[row, column] for column in order])
    products = torch.bmm(tiles.flatten(2, -2).flatten(0, 1), weight).view(*tiles.shape[:-1], -1)
    result = phases.new_empty(count, rows, 2, dilation, columns, 2, dilation, products.shape[-1])
    for i, lines in enumerate(_sums([products[row] for row in order])):
        for k, part in enumerate(_sums([lines[column] for column in order])):
            result[:, :, i, :, :, k] = part
    return result.view(count, 2 * rows * dilation, 2 * columns * dilation, -1)


def _differences(pixels: Sequence[Tensor], out: Sequence[Tensor | None] = (None,) * 4) -> list[Tensor]:
    """B of the paper: what becomes of four pixels in a row."""
    a, b, c, d = pixels
    pairs = ((torch.sub, a, c), (torch.add, b, c), (torch.sub, c, b), (torch.sub, b, d))
    return [make(x, y, out=place) for (make, x, y), place in zip(pairs, out, strict=True)]


def _sums(products: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """A of the paper: two pixels from four products."""
    a, b, c, d = products
    return (a + b).add_(c), (b - c).sub_(d)
