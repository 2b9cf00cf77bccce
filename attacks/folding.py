"""Which batch norms only scale and shift what one convolution or linear layer gives, found by looking at a forward."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

MAPS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
"""Maps that a scale and a shift of each channel can go into; classes derived from them may do something else."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

HARMLESS = {
    Tensor.dim, Tensor.size, Tensor.numel, Tensor.is_contiguous, Tensor.is_floating_point, Tensor.__len__,
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "is_cuda", "requires_grad")),
}  # fmt: skip
"""What asks a tensor for its kind, and not for its values."""


def pairs(network: nn.Module, image: Tensor, derived: bool = False) -> list[tuple[str, str]]:
    """The names of maps and of the batch norms that follow them, where each sees nothing but the other.

    Found by one forward: each time the map is called its output goes into this norm and nowhere else, and the norm sees
    nothing else. A norm that measures the batch at hand, in train mode or without running statistics, stays.

    Args:
        network: in eval mode.
        image: `(B, C, H, W)`; what else it is does not matter.
        derived: take maps of classes derived from torch's as well.
    """
    names = {module: name for name, module in network.named_modules()}
    maps = [module for module in names if is_map(module, derived)]
    norms = [module for module in names if is_fixed_norm(module)]
    watch = _Watch()
    with ExitStack() as stack, torch.no_grad():
        for module in maps:
            stack.callback(module.register_forward_hook(watch.made).remove)
        for module in norms:
            stack.callback(module.register_forward_pre_hook(watch.enters).remove)
            stack.callback(module.register_forward_hook(watch.leaves).remove)
        stack.enter_context(watch)
        watch.use(tree_leaves(network(image)))
    return [(names[one], names[other]) for one, other in watch.pairs()]


def is_map(module: nn.Module, derived: bool = False) -> bool:
    """Whether a module is a convolution or linear layer, as torch has it or derived from that, with its own weights."""
    return (isinstance(module, MAPS) if derived else type(module) in MAPS) and _as_its_class(module)


def is_fixed_norm(module: nn.Module) -> bool:
    """Whether a module is a batch norm as torch has it, and uses its running statistics."""
    fixed = type(module) in NORMS and not module.training and module.running_mean is not None
    return fixed and _as_its_class(module)


def _as_its_class(module: nn.Module) -> bool:
    """Whether the forward is that of the class, and nothing computes the weight anew, as weight norm does."""
    return "forward" not in vars(module) and "weight" in module._parameters


def between(one: nn.Module, norm: nn.Module) -> tuple[Mapping[int, Any], ...]:
    """Where hooks stand that see, or change, what passes between a map and its norm."""
    backward = [hooks for module in (one, norm) for hooks in (module._backward_hooks, module._backward_pre_hooks)]
    return one._forward_hooks, norm._forward_pre_hooks, *backward


def of_weights(scale: Tensor, module: nn.Module) -> Tensor:
    """The scale of each output channel, `(O,)`, in a shape that a map's weight can be multiplied by."""
    if not isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return scale.view(-1, *[1] * (module.weight.ndim - 1))  # type: ignore[operator]
    grouped = scale.view(module.groups, 1, -1).expand(-1, module.in_channels // module.groups, -1)
    return grouped.reshape(module.in_channels, -1, *[1] * len(module.kernel_size))


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """What a batch norm does to each channel in eval mode, `(C,)` each."""
    mean, variance, gain, bias = norm.running_mean, norm.running_var, norm.weight, norm.bias
    scale = (variance + norm.eps).rsqrt()  # type: ignore[operator]
    scale = scale if gain is None else scale * gain.detach()  # type: ignore[operator]
    shift = -mean * scale  # type: ignore[operator]
    return scale, shift if bias is None else shift + bias.detach()  # type: ignore[operator]


class _Watch(TorchFunctionMode):
    """Follows what maps give: where it goes, from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[int, tuple[Tensor, nn.Module]] = {}
        """By the tensor's id, which stays its own as long as it is kept here."""
        self.spoilt: set[nn.Module] = set()
        """Maps whose output goes elsewhere, too, and norms that see something else."""
        self.followed: dict[nn.Module, set[nn.Module]] = {}
        self.inside: list[int] = []
        """The tensors that norms at work were given."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in HARMLESS:
            self.use(tree_leaves((args, kwargs)))
        return func(*args, **(kwargs or {}))

    def use(self, values: Iterable[Any]) -> None:
        for value in values:
            if id(value) in self.outputs and id(value) not in self.inside:
                self.spoilt.add(self.outputs[id(value)][1])

    def made(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not (isinstance(module, nn.Linear) and output.ndim != 2):
            self.outputs[id(output)] = output, module

    def enters(self, norm: nn.Module, inputs: Any) -> None:
        key = id(inputs[0]) if inputs else 0
        if key in self.outputs:
            self.followed.setdefault(self.outputs[key][1], set()).add(norm)
        else:
            self.spoilt.add(norm)
        self.inside.append(key)

    def leaves(self, norm: nn.Module, inputs: Any, output: Any) -> None:
        self.inside.pop()

    def pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Maps and norms that see each other only."""
        found = [(one, norm) for one, norms in self.followed.items() for norm in norms if len(norms) == 1]
        known = [norm for norms in self.followed.values() for norm in norms]
        return [pair for pair in found if not self.spoilt.intersection(pair) and known.count(pair[1]) == 1]
