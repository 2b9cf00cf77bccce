"""The random-parameter check: does a map change when the network's layers lose what they have learnt?"""

import copy
from collections.abc import Iterator
from itertools import groupby, pairwise

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from attacks.seeds import mix

DEPENDS_HARDLY = 0.5
"""The rank correlation with a random network's map above which a map is told to depend hardly on the network.

Half: a quarter of what one map's ranks say is in the other's. With a network trained adversarially on birds
(EfficientNet-Lite0, 4 images), the mean over eight stages is 0.69 for guided, and 0.26 to 0.38 for the others.
"""

FROZEN = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
"""What the buffers of a frozen batch norm are before it has learnt anything."""


def randomized(network: nn.Module, stages: list[list[str]], seed: int = 0) -> Iterator[nn.Module]:
    """A copy of a network whose layers become random stage by stage and stay so (Adebayo et al. 2018, sec. 3.1).

    A layer is drawn anew as its class does when it is made, batch norm's statistics with it. Parameters that a module
    of another kind has for itself are shuffled. It is one copy, which goes on changing; the network is not touched.

    Args:
        network: on any device.
        stages: the names of the layers of each stage; see `stages_of`.
        seed: for what is drawn, from the global random generators: call it inside `attacks.adversary.undisturbed`.
    """
    copied = copy.deepcopy(network)
    copied.requires_grad_(False)
    for number, names in enumerate(stages):
        torch.manual_seed(int(mix(seed, number)))
        for name in names:
            _reset(copied.get_submodule(name))
        yield copied


def stages_of(network: nn.Module, image: Tensor, most: int) -> list[list[str]]:
    """The layers that a network uses, from its output down, in at most so many stages.

    A stage is a block, by the layers' names, such as `layer4` of a ResNet. A block that holds over half of all layers
    is split: into its own blocks, or if these are too many, into parts of as many blocks each. Normalisation goes with
    the layer before it.

    Args:
        network: in eval mode.
        image: `(B, 3, H, W)`; one of them is shown to the network.
        most: 2 or more.

    Raises:
        ValueError: if it has no layers with parameters.
    """
    units = _units(network, image[:1])
    if not units:
        raise ValueError("randomization: the network has no layers with parameters; leave it out")
    groups = [units]
    while True:
        largest = max(range(len(groups)), key=lambda place: len(groups[place]))
        group = groups[largest]
        if len(group) == 1 or (len(groups) > 1 and 2 * len(group) <= len(units)):
            break
        parts = _parts(group, most - len(groups) + 1)
        if len(parts) == 1:
            break
        groups[largest : largest + 1] = parts
    return [[name for unit in group for name in reversed(unit)] for group in groups]


def rank_correlations(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's rank correlation of each sample's values, `(B,)`; NaN where all values of one are the same."""
    found = []
    for a, b in zip(one.flatten(1).double().cpu(), other.flatten(1).double().cpu(), strict=True):
        constant = bool((a == a[0]).all() or (b == b[0]).all())
        found.append(float("nan") if constant else float(spearmanr(a.numpy(), b.numpy()).statistic))
    return torch.tensor(found, device=one.device)


def title_of(stage: list[str]) -> str:
    """What a stage is called: its layer, or the block that they are of with the first and the last in it."""
    paths = [name.split(".") for name in stage]
    *block, first = paths[-1]
    while not all(path[: len(block)] == block and len(path) > len(block) for path in paths):
        *block, first = block
    last = paths[0][len(block)]
    return ".".join([*block, first if first == last else f"{first} to {last}"]) or "network"


def _units(network: nn.Module, image: Tensor) -> list[list[str]]:
    """The layers in the order of their first use, the last one first; each with the normalisation behind it."""
    used: dict[str, nn.Module] = {}
    handles = [
        module.register_forward_pre_hook(lambda module, _, name=name: used.setdefault(name, module) and None)
        for name, module in network.named_modules()
        if _learns(module)
    ]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    units: list[list[str]] = []
    for name, module in used.items():
        if _is_norm(module) and units:
            units[-1].append(name)
        else:
            units.append([name])
    of = {name: unit for unit in units for name in unit}
    for name, module in network.named_modules():  # what is used by its parameters alone, as in attention
        if _learns(module) and name not in used:
            above = name.rpartition(".")[0]
            if above in of:
                of[above].append(name)
    return units[::-1]


def _parts(units: list[list[str]], most: int) -> list[list[list[str]]]:
    """The blocks of a group, or the group itself, where it cannot be split into as many as are allowed."""
    paths = [unit[0].split(".") for unit in units]
    depth = 0
    while len({tuple(path[: depth + 1]) for path in paths}) == 1 and depth < max(map(len, paths)):
        depth += 1
    blocks = [[*each] for _, each in groupby(units, key=lambda unit: unit[0].split(".")[: depth + 1])]
    count = min(most, len(blocks))
    if count < 2:
        return [units]
    ends = [round(len(blocks) * place / count) for place in range(count + 1)]
    return [[unit for block in blocks[a:b] for unit in block] for a, b in pairwise(ends)]


def _learns(module: nn.Module) -> bool:
    """Whether a module has parameters of its own, or is a batch norm."""
    return bool(module._parameters) or "running_mean" in module._buffers


def _is_norm(module: nn.Module) -> bool:
    """Whether a module normalises: of parameters it has one weight for each channel, and perhaps a bias."""
    weight = getattr(module, "weight", None)
    return isinstance(module, _NormBase) or (isinstance(weight, Tensor) and weight.ndim == 1)


def _reset(module: nn.Module) -> None:
    with torch.no_grad():
        if callable(getattr(module, "reset_parameters", None)):
            module.reset_parameters()  # type: ignore[operator]
            return
        for parameter in module.parameters(recurse=False):
            order = torch.randperm(parameter.numel()).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
        for name, value in FROZEN.items():
            if name in module._buffers:
                module._buffers[name].fill_(value)  # type: ignore[union-attr]
