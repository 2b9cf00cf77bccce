"""Noise that is a function of each sample's seed alone: the same for any batch, order or number of devices."""

from collections.abc import Callable

import torch
from torch import Tensor


def mix(*parts: int | Tensor) -> Tensor:
    """Mix integers into well-spread int64 seeds; tensors `(B,)` give one seed per sample.

    SplitMix64 (Steele et al. 2014) folded over the parts, so (1, 2) and (2, 1) differ.
    """
    state = torch.zeros((), dtype=torch.int64)
    for part in parts:
        state = _splitmix64(state.to(part.device) + part if isinstance(part, Tensor) else state + _signed(part))
    return state


def uniform(like: Tensor, seed: Tensor, stream: int = 0) -> Tensor:
    """Uniform noise in `[0, 1)`, shaped like `like`; `stream` separates several draws from one seed."""
    return _draw(torch.rand, like, seed, stream)


def normal(like: Tensor, seed: Tensor, stream: int = 0) -> Tensor:
    """Standard normal noise, shaped like `like`."""
    return _draw(torch.randn, like, seed, stream)


def _draw(draw: Callable[..., Tensor], like: Tensor, seed: Tensor, stream: int) -> Tensor:
    if seed.shape != like.shape[:1]:
        raise ValueError(f"seed has shape {tuple(seed.shape)}; one int64 per sample is needed: ({len(like)},)")
    generator = torch.Generator(like.device)
    noise = torch.empty_like(like)
    for sample, value in zip(noise, mix(seed.cpu(), stream).tolist(), strict=True):
        generator.manual_seed(value)
        sample.copy_(draw(like.shape[1:], generator=generator, device=like.device, dtype=like.dtype))
    return noise


def _signed(value: int) -> int:
    """The int64 with the same 64 bits."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _splitmix64(x: Tensor) -> Tensor:
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; torch's shift of int64 keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
