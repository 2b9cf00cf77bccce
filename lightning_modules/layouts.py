"""Where in a file the weights of a network are, whoever wrote it, and under which names.

Every tensor in a file has a name: the way to it through the containers, with dots between. The weights of a network lie
under one prefix of such names, made of containers (`state_dict.`, `net.`) and of wrapping modules (`model.`,
`backbone.`). It is found by the network's own names, all of which follow it. Nothing is guessed: where two prefixes
fit, and the weights differ, neither is taken.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lightning_modules.averages import averages_left_out
from lightning_modules.unpickling import Inert
from lightning_modules.weight_files import SAVE, NetworkError

Groups = dict[str, dict[str, Any]]
"""What the containers of a file hold, by the way to each, which is empty or ends with a dot."""

_WRAPPERS = re.compile(r"(^|(?<=\.))(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What parallel and compiled modules put into names, at any place."""

_STATISTICS = {"mean": "mean", "mu": "mean", "std": "std", "sigma": "std"}
_NORMALISERS = {
    f"{layer}{theirs}": f"normalize.{ours}"
    for layer in ("", "normalize.", "normalizer.", "norm.", "0.")
    for theirs, ours in _STATISTICS.items()
}
"""Normalisers beside an architecture: buffers of its own, a layer, or the first of two."""

_TRAINING = re.compile(r"(\w+_)?(loss|losses|criterion|metrics?|acc|accuracy)(_\w+)?\..+")
"""What is used in training only, beside a network."""

_DEPTH = 4  # containers in containers
_A_NETWORK = 4  # tensors; fewer are statistics, class weights and the like


def network_state(
    content: Any, path: Path, own: Mapping[str, Tensor] | None = None, whole: bool = True, part: str | None = None
) -> dict[str, Tensor]:
    """The weights of a network in a file, its architecture under `model.` and its normaliser under `normalize.`.

    What else lies in the same container keeps its own name, but for what is used in training only.

    Args:
        content: what `read_file` gave.
        path: the file, for messages.
        own: the tensors of the architecture that is looked for; without it, wrapping modules whose name is not known
            stay in the names.
        whole: whether the architecture is all of a network, not a part.
        part: the prefix to take, without its last dot, where there are several.

    Raises:
        NetworkError: if there are no weights, or several that differ; it names them.
    """
    if isinstance(content, Mapping) and "pytorch-lightning_version" in content:  # this format says where they are
        content = {"state_dict": content.get("state_dict")}
    groups = _groups(content, path)
    values = {f"{way}{key}": value for way, names in groups.items() for key, value in names.items()}
    prefix, copies = _prefix(groups, values, path, own, part)
    home = max((way for way in groups if prefix.startswith(way)), key=len, default=prefix)
    normaliser = _normaliser(prefix, values)
    state: dict[str, Tensor] = {}
    beside = []
    for way, names in groups.items():
        for key, value in names.items():
            name = f"{way}{key}"
            if key == "n_averaged":  # of an averaged model
                continue
            if name in normaliser:
                shown = normaliser[name]
            elif name.startswith(prefix):
                shown = f"model.{name.removeprefix(prefix)}"
            elif name.startswith(copies):
                continue
            elif _may_be_normaliser(key) and (prefix.startswith(way) or len(names) < _A_NETWORK):
                shown = name.removeprefix(home)
            elif way != home or not whole or part is not None:
                continue
            elif _TRAINING.fullmatch(key):
                beside.append(key)
                continue
            else:
                shown = key
            if isinstance(value, Tensor):
                state[shown] = value
            elif isinstance(value, Inert) and way == home:
                raise NetworkError(f"{path}: no state dict, {shown!r:.80} is no plain tensor; save weights with {SAVE}")
    if beside:
        rank_zero_warn(f"{path}: {some(beside)} beside the weights are not the network's and are left out")
    taken = [value for name, value in values.items() if name.startswith(copies)]
    if part is None and (averages := averages_left_out(content, [*state.values(), *taken])):
        rank_zero_warn(
            f"{path}: {some(averages)}: averaged weights, it seems, which cannot be read or are not all of a network "
            "and are left out; to use them, save their state dict"
        )
    return state


def _may_be_normaliser(key: str) -> bool:
    return key.rpartition(".")[2] in _STATISTICS


def plain_state(content: Any, path: Path) -> dict[str, Tensor]:
    """A state dict that must be one as it is; raises NetworkError if it is none."""
    if not isinstance(content, Mapping) or not content or _no_tensor(content) is not None:
        raise NetworkError(f"{path}: {_no_state_dict(content)}")
    return dict(content)


def some(names: list[str]) -> str:
    """The first of many names."""
    return f"{', '.join(names[:3])}{', ...' * (len(names) > 3)}"


def _groups(content: Any, path: Path) -> Groups:
    """What the containers of a file hold, without wrappers' names; containers without a tensor are not there."""
    groups: Groups = {}
    seen: set[int] = set()
    left = [("", content)]
    for way, container in left:  # which grows
        if not isinstance(container, Mapping) or id(container) in seen:
            continue
        seen.add(id(container))  # nothing twice: a file may be nested as it likes
        tensors = [key for key, value in container.items() if isinstance(value, Tensor | Inert)]
        if any(isinstance(container[key], Tensor) for key in tensors) and all(map(_is_name, tensors)):
            groups[way] = _names(container, path)
        if way.count(".") < _DEPTH:
            left += [(f"{way}{key}.", value) for key, value in container.items() if _is_name(key)]
    if not groups:
        raise NetworkError(f"{path}: {_no_state_dict(content)}")
    return groups


def _names(container: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    """What a container holds by name, but for other containers."""
    names: dict[str, Any] = {}
    for key, value in container.items():
        if _is_name(key) and not isinstance(value, Mapping):
            name = _WRAPPERS.sub("", key)
            if name in names:
                raise NetworkError(
                    f"{path}: {name} is in it twice, also of a wrapping module; save weights with {SAVE}"
                )
            names[name] = value
    if any(name.startswith(("normalizer.new_", "attacker.model.")) for name in names):
        return _of_robustness(names, path)
    return names


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isprintable()


def _no_tensor(content: Mapping[Any, Any]) -> str | None:
    """What is wrong with a mapping that should be one of names to tensors."""
    for key, value in content.items():
        if not _is_name(key):
            shown = f"{key!r:.80}" if isinstance(key, str) else f"a key of type {type(key).__name__}"
            return f"{shown} is no tensor's name"
        if not isinstance(value, Tensor):
            return f"{key!r:.80} is no plain tensor"
    return None


def _no_state_dict(content: Any) -> str:
    if isinstance(content, Inert):
        return f"a pickled object, such as a whole module, which is code and is not run; save weights with {SAVE}"
    wrong = _no_tensor(content) if isinstance(content, Mapping) else None
    return f"no state dict{'' if wrong is None else f', {wrong}'}; save one with {SAVE}"


def _of_robustness(names: dict[str, Any], path: Path) -> dict[str, Any]:
    """The `robustness` library keeps the weights twice, once in its attacker, and the normaliser beside them."""
    for key, value in names.items():
        if key.startswith("attacker.model.") and not _same(value, names.get(key.removeprefix("attacker."))):
            raise NetworkError(f"{path}: {key} and its copy differ; save it again, or download it again")
    kept = {key: value for key, value in names.items() if key.startswith("model.")}
    for name in ("mean", "std"):
        if f"normalizer.new_{name}" not in names:
            raise NetworkError(f"{path}: normalizer.new_{name} is missing from it; save or download it again")
        kept[f"normalize.{name}"] = names[f"normalizer.new_{name}"]
    return kept


def _same(one: Any, other: Any) -> bool:
    return (
        isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape and torch.equal(one, other)
    )


def _prefix(
    groups: Groups, values: dict[str, Any], path: Path, own: Mapping[str, Tensor] | None, part: str | None
) -> tuple[str, tuple[str, ...]]:
    """The prefix of the architecture's names, and others under which there are the same weights."""
    if part is not None:
        if not any(name.startswith(f"{part}.") for name in values):
            raise NetworkError(f"{path}: nothing in it begins with {part}; there is {some(sorted(values))}")
        return _usual(f"{part}.", values), ()
    if own:
        fitting = _fitting(values, own)
        if fitting:
            first = fitting[0]
            for other in fitting[1:]:
                if not all(_same(values[first + name], values[other + name]) for name in _needed(own)):
                    raise _several(path, first, other)
            return first, tuple(fitting[1:])
    sizes = {way: sum(isinstance(value, Tensor) and value.ndim > 0 for value in groups[way].values()) for way in groups}
    ways = [way for way, size in sizes.items() if size == max(sizes.values()) or size >= _A_NETWORK]
    if len(ways) > 1 and not own:
        raise _several(path, *ways[:2])
    return _usual(ways[0], values), ()


def _several(path: Path, *prefixes: str) -> NetworkError:
    one, other = (prefix.removesuffix(".") or "its top level" for prefix in prefixes)
    return NetworkError(
        f"{path}: holds different weights, in {one} and in {other}; take those that you mean out of it with "
        f"`cli.py convert {path.name} NAME.safetensors --part {other}`"
    )


def _needed(own: Mapping[str, Tensor]) -> list[str]:
    """An architecture's names, but for batch norm's counters, which files from before torch 0.4.1 lack."""
    return [name for name in own if not name.endswith("num_batches_tracked")]


def _fitting(values: dict[str, Any], own: Mapping[str, Tensor]) -> list[str]:
    """The prefixes that all of an architecture's names follow; else the one that most of them follow, if half do."""
    needed = set(_needed(own))
    deepest = max((name.count(".") for name in needed), default=0) + 1
    found: Counter[str] = Counter()
    for name in values:
        pieces = name.rsplit(".", deepest)
        for i in range(len(pieces)):
            rest = ".".join(pieces[i:])
            if rest in needed:
                found[name.removesuffix(rest)] += 1
    whole = [prefix for prefix, count in found.items() if count == len(needed)]
    if len(whole) > 1:
        shapes = {name: own[name].shape for name in needed}
        whole = [p for p in whole if all(getattr(values[p + n], "shape", None) == shapes[n] for n in needed)] or whole
    if whole or not found:
        return sorted(whole, key=len)
    best = max(found, key=lambda prefix: (found[prefix], -len(prefix)))
    return [best] if 2 * found[best] >= len(needed) else []


def _usual(prefix: str, values: dict[str, Any]) -> str:
    """The prefix, longer by what goes before an architecture in our checkpoints and many others'."""
    for wrapping in ("network.", "model."):
        if any(name.startswith(prefix + wrapping) for name in values):
            prefix += wrapping
    return prefix


def _normaliser(prefix: str, values: dict[str, Any]) -> dict[str, str]:
    """Which names are those of the normaliser: the nearest, within the architecture or beside it."""
    found: dict[str, str] = {}
    while True:
        for theirs, ours in _NORMALISERS.items():
            if isinstance(values.get(prefix + theirs), Tensor) and ours not in found.values():
                found[prefix + theirs] = ours
        if not prefix:
            return found
        prefix = prefix[: prefix.rstrip(".").rfind(".") + 1]
