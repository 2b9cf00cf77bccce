"""A twin: what stands in for a network while its weights rest, in an attack or a painting.

Batch norm is folded into what comes before it, convolutions are computed in the way that suits the processor, no weight
asks for a gradient, and a head that only training uses is left out. Whatever else there is, weights, modes, buffers,
hooks, is looked up in the network each time: a twin is no part of it, and of no checkpoint.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from attacks import winograd
from attacks.adversary import outside_inference, undisturbed
from attacks.folding import between, is_fixed_norm, is_map, of_weights, pairs, scale_and_shift
from attacks.objectives import logits_of
from attacks.shells import Weights, in_autocast, leave_out, let_rest, shells

Kind = Literal["exact", "bf16", "off"]
"""`exact`: the network's values but for rounding; `bf16`: in bfloat16; `off`: the network itself."""

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.1}
"""How far a twin's logits may be from the network's on the first batch, as a share of their length."""


@contextmanager
def at_rest(network: nn.Module, image: Tensor, kind: Kind = "exact") -> Iterator[nn.Module]:
    """Inside, what answers as the network would, and faster; the network is left as `undisturbed` leaves it.

    It has gradients to images and none to weights, which must not change inside.

    Args:
        network: from pixels in `[0, 1]` to logits.
        image: the batch that comes, `(B, C, H, W)`. The first one is shown to both: a twin that disagrees is not used,
            and a warning says so.
        kind: what is asked for. `bf16` is `exact`, with a warning, on a processor without instructions for it.
    """
    with undisturbed(network):
        yield network if kind == "off" or not image.numel() else _stand_in(network, outside_inference(image), kind)


def exactly(kind: Kind) -> Kind:
    """What is published is measured on images made in full precision."""
    return "exact" if kind == "bf16" else kind


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is fast there: on other processors it is two to three times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _processor_has_bf16()


@cache
def _processor_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"amx_bf16", "avx512_bf16", "bf16"}.isdisjoint(flags)  # of x86, and of Arm


@cache
def _tell_of_bf16(device: torch.device) -> None:
    warnings.warn(
        f"twin: bf16 is slower than float32 on this processor ({device.type}), which has no instructions for it: "
        "exact is used",
        stacklevel=2,
    )


_twins: "WeakKeyDictionary[nn.Module, dict[Any, _Twin | None]]" = WeakKeyDictionary()
"""By network, then by kind, device and dtype; None where the network itself is used."""


def _stand_in(network: nn.Module, image: Tensor, kind: Kind) -> nn.Module:
    if kind == "bf16" and not has_bf16(image.device):
        _tell_of_bf16(image.device)
        kind = "exact"
    dtype = _dtype(network, image.device, kind)
    known, key = _twins.setdefault(network, {}), (kind, image.device, dtype)
    twin = known.get(key)
    if twin is not None and twin.fits(network):
        return twin.module(network)
    if twin is None and key in known:
        return network
    try:
        theirs = _logits(network, image)
    except Exception:  # it will come again where it can be told what it means
        return network
    if not theirs.isfinite().all():  # others tell of that
        return network
    twin = known[key] = _made(network, image, theirs, kind, dtype)
    return network if twin is None else twin.module(network)


def _dtype(network: nn.Module, device: torch.device, kind: Kind) -> torch.dtype:
    """What convolutions compute in."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.bfloat16 if kind == "bf16" else next((each.dtype for each in network.parameters()), torch.float32)


def _logits(network: nn.Module, image: Tensor) -> Tensor:
    """Logits of the network or its twin, with the same noise, if there is any; a gradient, if it has one, is made."""
    with _noise_kept(image):
        image = image.clone().requires_grad_()
        logits = logits_of(network(image))
        if logits.requires_grad:
            torch.autograd.grad(logits.sum(), image, allow_unused=True)
        return logits.detach()


def _noise_kept(image: Tensor) -> AbstractContextManager[None]:
    return torch.random.fork_rng([image.device.index] if image.device.type == "cuda" else [])


def _made(network: nn.Module, image: Tensor, theirs: Tensor, kind: Kind, dtype: torch.dtype) -> "_Twin | None":
    """The first that agrees: derived classes may use weights otherwise, and some networks take only one format."""
    suits = image.device.type == "cpu" or dtype in (torch.float16, torch.bfloat16)
    reason = ""
    for derived, channels_last in dict.fromkeys([(True, suits), (False, suits), (False, False)]):
        try:
            with _noise_kept(image):
                found = dict(pairs(network, image[:1], derived))
            twin = _Twin(found, dtype, channels_last, autocast=kind == "bf16")
            off = float((_logits(twin.module(network), image) - theirs).norm() / theirs.norm().clamp(min=1e-30))
            if off <= TOLERANCE[dtype]:
                return twin
            reason = f"gives logits that are off by {off:.2g} of their length"
        except Exception as error:  # of whatever a network does with its own parts
            reason = f"fails ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    name = getattr(network, "name", type(network).__name__)
    warnings.warn(f"{name}: its twin {reason}; the network itself is used, which is slower", stacklevel=2)
    return None


@dataclass
class _Twin:
    """How a network's twin is made; and the memory of its weights, from one time to the next.

    Args:
        pairs: the names of maps, and of the norms that go into them.
        dtype: what maps compute in.
        channels_last: the memory format of convolutions; with it they may be those of `winograd`.
        autocast: compute in `dtype` where nobody asks for it.
    """

    pairs: dict[str, str]
    dtype: torch.dtype
    channels_last: bool
    autocast: bool

    def __post_init__(self) -> None:
        self._memory: dict[str, Tensor] = {}

    def fits(self, network: nn.Module) -> bool:
        """Whether the network still is made like that."""
        parts = dict(network.named_modules())
        return all(
            {one, norm} <= parts.keys() and is_map(parts[one], derived=True) and is_fixed_norm(parts[norm])
            for one, norm in self.pairs.items()
        )

    def module(self, network: nn.Module) -> nn.Module:
        """The twin of the network as it is now; itself, if it cannot be taken apart."""
        made = shells(network)
        if id(network) not in made:
            return network
        parts = dict(network.named_modules())
        with torch.no_grad():
            for name, part in parts.items():
                if id(part) not in made or not (name in self.pairs or is_map(part)):
                    continue
                norm = parts[self.pairs[name]] if name in self.pairs else None
                watched = () if norm is None else between(part, norm)
                if (weights := self._weights(name, part, norm)) is not None:
                    let_rest(made[id(part)], weights, watched)
                if norm is not None:
                    leave_out(made[id(norm)], watched)
        if self.autocast:
            in_autocast(made[id(network)], self.dtype)
        return made[id(network)]

    def _weights(self, name: str, part: nn.Module, norm: nn.Module | None) -> Weights | None:
        """What a map computes with; None if that is what it has."""
        weight, bias = part.weight.detach(), None if part.bias is None else part.bias.detach()  # type: ignore[operator]
        form = torch.channels_last if self.channels_last and weight.ndim == 4 else torch.contiguous_format
        if (
            norm is None
            and weight.dtype == self.dtype
            and (form is torch.contiguous_format or weight.is_contiguous(memory_format=form))
        ):
            return None
        if norm is not None:
            scale, shift = scale_and_shift(norm)
            bias = shift if bias is None else torch.addcmul(shift, bias, scale)
            weight = weight * of_weights(scale, part)
        bias = None if bias is None else bias.to(self.dtype)
        if self.channels_last and winograd.serves(part, weight.device, self.dtype):
            kept = self._kept(name, (16, *weight.shape[:2]), torch.contiguous_format, weight.device)
            return {"transformed": winograd.transformed(weight, kept), "bias": bias}
        return {"weight": self._kept(name, weight.shape, form, weight.device).copy_(weight), "bias": bias}

    def _kept(self, name: str, shape: Sequence[int], form: torch.memory_format, device: torch.device) -> Tensor:
        """The same memory each time."""
        kept = self._memory.get(name)
        if kept is None or kept.shape != torch.Size(shape) or kept.device != device:
            kept = self._memory[name] = torch.empty(shape, dtype=self.dtype, device=device, memory_format=form)
        return kept
