"""The modules of a twin: what the network's are, but for what rests."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from attacks import winograd

Weights = dict[str, Tensor | None]


def shells(network: nn.Module) -> dict[int, nn.Module]:
    """A twin for each module, by its `id`: of the same class, with the same attributes, hooks and buffers.

    Parameters are the network's own memory, and ask for no gradient. A module that cannot be taken apart, compiled or
    with a forward of its own, stays as it is, with all that is in it, and has none.
    """
    made: dict[int, nn.Module] = {}
    _shell(network, made, {})
    return made


def _shell(module: nn.Module, made: dict[int, nn.Module], parameters: dict[int, nn.Parameter]) -> nn.Module:
    if id(module) in made:
        return made[id(module)]
    if isinstance(module, torch.jit.ScriptModule) or "_orig_mod" in module._modules or "forward" in vars(module):
        return module
    shell: nn.Module = object.__new__(type(module))
    made[id(module)] = shell
    vars(shell).update(vars(module))
    own = vars(shell)
    own["_buffers"] = dict(module._buffers)
    own["_modules"] = {
        name: None if child is None or _only_trains(module, name) else _shell(child, made, parameters)
        for name, child in module._modules.items()
    }
    own["_parameters"] = {
        name: None if each is None else parameters.setdefault(id(each), nn.Parameter(each.detach(), False))
        for name, each in module._parameters.items()
    }
    return shell


def _only_trains(module: nn.Module, name: str) -> bool:
    """Torchvision's segmentation networks run their auxiliary head in eval mode, too."""
    return name == "aux_classifier" and type(module).__module__.startswith("torchvision.models.segmentation")


def let_rest(shell: nn.Module, weights: Weights, watched: tuple[Mapping[int, Any], ...] = ()) -> None:
    """Have a map compute with other weights, as long as no hook is `watched`.

    Args:
        shell: of a convolution or linear layer.
        weights: `weight` and `bias`; or `transformed`, for `winograd`, in place of the weight.
        watched: where the hooks would stand that see the difference.
    """
    _behave(shell, _Resting)
    vars(shell).update(_weights=weights, _watched=watched)


def leave_out(shell: nn.Module, watched: tuple[Mapping[int, Any], ...]) -> None:
    """Have a norm give what it is given, as long as no hook is `watched`: the map before it does its work."""
    _behave(shell, _LeftOut)
    vars(shell).update(_watched=watched)


def in_autocast(shell: nn.Module, dtype: torch.dtype) -> None:
    """Have a network compute in 16 bits where that is safe, and give float32."""
    _behave(shell, _InAutocast)
    vars(shell).update(_autocast=dtype)


def _behave(shell: nn.Module, behaviour: Any) -> None:
    """Give a shell a class that behaves otherwise; by a name of its own, as configs name classes."""
    kind: Any = type(shell)
    shell.__class__ = _derived(behaviour, kind)


@cache
def _derived(behaviour: Any, kind: Any) -> type:
    return type(f"{behaviour.__name__}{kind.__name__}", (behaviour, kind), {"__module__": __name__})


class _Resting:
    _weights: Weights
    _watched: tuple[Mapping[int, Any], ...]

    def forward(self, image: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        forward: Any = super().forward  # type: ignore[misc]
        if any(self._watched):
            return forward(image, *args, **kwargs)
        if (weight := self._weights.get("transformed")) is not None:
            return winograd.convolve(image, weight, self._weights["bias"], self.dilation[0])  # type: ignore[attr-defined]
        own = vars(self)
        plain, own["_parameters"] = own["_parameters"], self._weights
        try:
            return forward(image, *args, **kwargs)
        finally:
            own["_parameters"] = plain


class _LeftOut:
    _watched: tuple[Mapping[int, Any], ...]

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image) if any(self._watched) else image  # type: ignore[misc]


class _InAutocast:
    _autocast: torch.dtype

    def forward(self, image: Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(image.device.type, self._autocast):
            output = super().forward(image, *args, **kwargs)  # type: ignore[misc]
        return tree_map(lambda each: each.float() if _is_16_bits(each) else each, output)


def _is_16_bits(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
