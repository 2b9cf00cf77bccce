"""Weights from files: data, never code.

All kinds of files come out under the names of `Network`: `model.` and the architecture's own name, and `normalize.mean`
and `normalize.std` where the file has a normaliser.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lightning_modules.unpickling import Inert, load_tensors


class NetworkError(ValueError):
    """A network that does not exist, or weights that do not fit it; the message says which and what to do."""

    one_line = True


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a network from a file; nothing in the file is executed.

    Known are state dicts of torchvision and RobustBench, checkpoints of the `robustness` library and of
    robust-models-transfer, our own checkpoints, and safetensors.

    Raises:
        NetworkError: if the file is missing, or holds no state dict.
    """
    if not os.path.isfile(path):  # Path.is_file() raises where a folder is closed to us
        raise NetworkError(f"{path}: no such weights file")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else load_tensors(path)
    except Exception as error:  # a broken pickle may raise anything
        raise NetworkError(f"{path}: not a file of weights ({_reason(error)}); fetch it again") from error
    state = _state_dict(content, path)
    for prefix in ("module.", "network."):  # of DataParallel, and of our checkpoints
        if any(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if any(key.startswith("normalizer.") for key in state):
        state = _of_robustness(state, path)
    state = {_NORMALISERS.get(key, key): value for key, value in state.items()}
    if not any(key.startswith("model.") for key in state):
        state = {key if key.startswith("normalize.") else f"model.{key}": value for key, value in state.items()}
    for key in ("normalize.mean", "normalize.std"):
        if key in state:
            state[key] = state[key].reshape(-1, 1, 1)
    return state


_NORMALISERS = {"mean": "normalize.mean", "mu": "normalize.mean", "std": "normalize.std", "sigma": "normalize.std"}
"""Names of normalisers that are buffers of the architecture itself, in files of RobustBench."""


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    keys = ("state_dict", "model", "model_state_dict")
    inner = [content[key] for key in keys if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)]
    state = inner[0] if inner else content
    if not isinstance(state, Mapping) or not state:
        raise NetworkError(f"{path}: no state dict; save one with torch.save(network.state_dict(), path)")
    for key, value in state.items():
        if not isinstance(key, str) or not key.isprintable() or not isinstance(value, Tensor):
            shown = f"{key!r:.80}" if isinstance(key, str) else f"a key of type {type(key).__name__}"
            raise NetworkError(f"{path}: no state dict, {shown} is no tensor's name")
    return dict(state)


def _reason(error: Exception) -> str:
    """The first line of an error's message, which may quote a file."""
    return "".join(filter(str.isprintable, str(error).partition("\n")[0])) or "cut short"


def _of_robustness(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The `robustness` library keeps the weights twice, once in its attacker, and the normaliser beside them."""
    for key, value in state.items():
        if key.startswith("attacker.model.") and not _same(value, state.get(key.removeprefix("attacker."))):
            raise NetworkError(f"{path}: {key} and its copy differ; fetch it again")
    kept = {key: value for key, value in state.items() if key.startswith("model.")}
    for name in ("mean", "std"):
        if f"normalizer.new_{name}" not in state:
            raise NetworkError(f"{path}: normalizer.new_{name} is missing from it; fetch it again")
        kept[f"normalize.{name}"] = state[f"normalizer.new_{name}"]
    return kept


def _same(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.shape == other.shape and torch.equal(one, other)


def load_weights(network: nn.Module, path: Path, keep: Sequence[str] = (), any_normaliser: bool = True) -> None:
    """Load the weights of a whole network, or nothing at all.

    Args:
        network: has `normalize` and `model`.
        path: what `read_weights` takes. Parts of it that are only used in training may be absent from the network.
        keep: what of the network's own normaliser was asked for, `normalize.mean` or `normalize.std`.
        any_normaliser: take a file without a normaliser, for the network's own; else all of it must be in the file, or
            be kept.

    Raises:
        NetworkError: if the keys or shapes in the file differ from the network's, or its normaliser from one that was
            asked for; it names them.
    """
    state, own = read_weights(path), network.state_dict()
    for part in ("model.aux_classifier.", "model.sub_block1."):  # the latter is never used, in RobustBench either
        if not any(key.startswith(part) for key in own):
            state = {key: value for key, value in state.items() if not key.startswith(part)}
    unknown = {"normalize.mean", "normalize.std"} - state.keys()
    state = _fitting(_with_normaliser(state, own, keep, path), own, path)
    if unknown - set(keep) and not any_normaliser:
        raise NetworkError(
            f"{path}: the weights come without their normaliser; give the network mean and std, "
            "[0, 0, 0] and [1, 1, 1] if it took pixels as they are (RobustBench's wrn_28_10 do, for the most part; its "
            "dm_wrn_28_10 take CIFAR's own)"
        )
    mean, std = (own[f"normalize.{name}"] for name in ("mean", "std"))
    if unknown and not any_normaliser and (mean.any() or (std != 1).any()):
        rank_zero_warn(
            f"{path}: the weights come without their normaliser, so mean and std are those that were given; "
            "RobustBench's wrn_28_10 take, for the most part, [0, 0, 0] and [1, 1, 1]"
        )
    network.load_state_dict(state)


def load_backbone(network: nn.Module, path: Path, keep: Sequence[str] = ()) -> None:
    """Load the backbone of a segmentation network from the weights of a classifier or of another segmentation network.

    The normaliser comes along: the backbone was trained behind it. Arguments and errors are those of `load_weights`.
    """
    state = read_weights(path)
    backbone = {key: value for key, value in state.items() if key.startswith("model.")}
    if any(key.startswith("model.backbone.") for key in state):
        backbone = {key: value for key, value in backbone.items() if key.startswith("model.backbone.")}
    else:
        head = ("model.fc.", "model.classifier.")
        backbone = {
            f"model.backbone.{key.removeprefix('model.')}": value
            for key, value in backbone.items()
            if not key.startswith(head)
        }
    own = {
        key: value for key, value in network.state_dict().items() if key.startswith(("model.backbone.", "normalize."))
    }
    normaliser = {key: value for key, value in state.items() if key.startswith("normalize.")}
    state = _fitting(_with_normaliser(backbone | normaliser, own, keep, path), own, path)
    network.load_state_dict(state, strict=False)


def _with_normaliser(
    state: dict[str, Tensor], own: dict[str, Tensor], keep: Sequence[str], path: Path
) -> dict[str, Tensor]:
    """The weights, with the network's own normaliser where the file has none."""
    for key in keep:
        theirs = state.get(key, own[key])
        if theirs.shape == own[key].shape and not torch.allclose(theirs.to(own[key]), own[key], atol=1e-4):
            name = key.removeprefix("normalize.")
            shown = [[round(each, 4) for each in values.flatten().tolist()] for values in (theirs, own[key])]
            raise NetworkError(
                f"{path}: the weights were trained behind {name}={shown[0]}, and {name}={shown[1]} is asked for; "
                "set mean and std to null"
            )
    return {key: value for key, value in own.items() if key.startswith("normalize.")} | state


def _fitting(state: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The weights, after a look whether keys and shapes are the network's own; raises NetworkError if they are not."""
    # Batch norm's counters are without effect here, and files from before torch 0.4.1 have none.
    state = {key: value for key, value in own.items() if key.endswith(".num_batches_tracked")} | state
    problems = {
        "missing": sorted(own.keys() - state.keys()),
        "unexpected": sorted(state.keys() - own.keys()),
        "of another shape": sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape),
    }
    found = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' * (len(keys) > 3)})"
        for kind, keys in problems.items()
        if keys
    ]
    if found:
        raise NetworkError(f"{path}: the weights do not fit: {'; '.join(found)}; check the name and num_classes")
    for key, value in state.items():
        if not value.isfinite().all() or (key.endswith("normalize.std") and value.min() <= 0):
            raise NetworkError(f"{path}: {key} holds values that cannot be computed with; take other weights")
    return state


def check_checkpoint(module: nn.Module, path: Path) -> None:
    """Look whether a checkpoint of a run fits, without executing anything in it.

    Raises:
        NetworkError: if it is none, or of another network; it names missing and unexpected keys.
    """
    try:
        content = load_tensors(path)
    except Exception as error:  # a broken pickle may raise anything
        raise NetworkError(f"{path}: not a checkpoint of a run ({_reason(error)})") from error
    if not isinstance(content, Mapping) or "pytorch-lightning_version" not in content:
        raise NetworkError(f"{path}: not a checkpoint of a run; other weights are given as --model.network.weights")
    if _holds_code(content):
        raise NetworkError(f"{path}: holds other things than tensors and plain containers; they are not loaded")
    _fitting(_state_dict(content, path), module.state_dict(), path)


def _holds_code(value: Any) -> bool:
    """Whether something in a file was neither a tensor nor a plain container."""
    seen: set[int] = set()
    left = [value]  # no recursion, and nothing twice: a file may be nested as it likes
    while left:
        each = left.pop()
        if isinstance(each, Inert):
            return True
        if isinstance(each, Mapping | list | tuple | set | frozenset) and id(each) not in seen:
            seen.add(id(each))
            left += [*each, *each.values()] if isinstance(each, Mapping) else each
    return False


def convert(source: Path, target: Path) -> None:
    """Write the weights of any file that `read_weights` takes to a safetensors file, whole or not at all.

    Raises:
        NetworkError: if the source is no file of weights, the target's name does not end in `.safetensors`, or it
            cannot be written.
    """
    if target.suffix != ".safetensors":
        raise NetworkError(f"{target}: the name of a safetensors file ends in .safetensors")
    state = {key: value.contiguous().clone() for key, value in read_weights(source).items()}
    try:
        content = save(state, {"format": "pt", "source": source.name})  # save_file() makes files that only we may read
    except (KeyError, ValueError) as error:
        raise NetworkError(f"{source}: safetensors cannot hold all of it ({_reason(error)})") from error
    temporary = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise NetworkError(f"{target}: cannot be written ({_reason(error)})") from error


def main(args: list[str]) -> None:
    """`convert SOURCE TARGET`: write the weights in a checkpoint to a safetensors file; nothing in it is executed."""
    parser = argparse.ArgumentParser("cli.py convert", description=main.__doc__)
    parser.add_argument("source", type=Path, help="a published checkpoint, such as imagenet_l2_3_0.pt, or one of a run")
    parser.add_argument("target", type=Path, help="the file to write, NAME.safetensors")
    options = parser.parse_args(args)
    convert(options.source, options.target)
    print(options.target.resolve())
