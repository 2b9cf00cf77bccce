"""Weights from files: data, never code.

All kinds of files come out under the names of `Network`: `model.` and the architecture's own name, and `normalize.mean`
and `normalize.std` where the file has a normaliser.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from safetensors.torch import save
from torch import Tensor, nn

from lightning_modules.layouts import network_state, plain_state, some
from lightning_modules.unpickling import Inert
from lightning_modules.weight_files import NetworkError, read_file, reason


def read_weights(
    path: Path, own: Mapping[str, Tensor] | None = None, whole: bool = True, part: str | None = None
) -> dict[str, Tensor]:
    """Read the weights of a network from a file; nothing in the file is executed.

    Known are state dicts of torchvision and RobustBench, checkpoints of the `robustness` library and of
    robust-models-transfer, our own checkpoints, and safetensors; and whatever else holds all names of `own`.

    Args:
        path: the file.
        own, whole, part: see `network_state`.

    Raises:
        NetworkError: if the file is missing, damaged, or holds no state dict, or several.
    """
    state = network_state(read_file(path), path, own, whole, part)
    for key in ("normalize.mean", "normalize.std"):
        if key in state:
            state[key] = state[key].reshape(-1, 1, 1)
    return state


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
    own = network.state_dict()
    state = read_weights(path, _under("model.", own))
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
    """Load the backbone of a network from the weights of a classifier or of a segmentation network.

    Of a classifier, the backbone is all but its last layer. The normaliser comes along: the backbone was trained behind
    it. Arguments and errors are those of `load_weights`.
    """
    own = network.state_dict()
    prefix = "model.backbone."
    head: tuple[str, ...] = ("model.fc.", "model._fc.", "model.classifier.")
    if not any(key.startswith(prefix) for key in own):
        layers = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
        prefix, head = "model.", (f"{layers[-1]}.",)
    state = {
        f"{prefix}{key.removeprefix('model.')}" if key.startswith("model.") else key: value
        for key, value in read_weights(path, _under(prefix, own), whole=False).items()
        if not key.startswith(head)
    }
    own = {k: value for k, value in own.items() if k.startswith((prefix, "normalize.")) and not k.startswith(head)}
    state = _fitting(_with_normaliser(state, own, keep, path), own, path)
    network.load_state_dict(state, strict=False)


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


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
    found = [f"{len(keys)} {kind} ({some(keys)})" for kind, keys in problems.items() if keys]
    if found:
        raise NetworkError(f"{path}: the weights do not fit: {'; '.join(found)}; check the name and num_classes")
    for key, value in state.items():
        wrong = _unusable(key, value, own[key])
        if wrong is not None:
            raise NetworkError(f"{path}: {key} {wrong}; take other weights")
    return state


def _unusable(key: str, value: Tensor, own: Tensor) -> str | None:
    """What is wrong with a tensor that is to take the place of the network's own, if anything is."""
    kinds = [(each.is_floating_point(), each.is_complex()) for each in (value, own)]
    if kinds[0] != kinds[1] and not key.endswith(".num_batches_tracked"):
        return f"is {_dtype(value)} where the network's is {_dtype(own)}"
    value = value.to(own.dtype)
    if not value.isfinite().all() and own.isfinite().all():
        return "holds values that cannot be computed with: NaN or infinite"
    if key.endswith("running_var") and (value < 0).any():
        return "holds values that cannot be computed with: a variance below 0"
    if key.endswith("normalize.std") and (value <= 0).any():
        return "holds values that cannot be computed with: a standard deviation that is not above 0"
    if key == "normalize.mean" and (value > 1).any():
        return "is for pixels of 0 to 255; ours are of 0 to 1"
    return None


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def check_checkpoint(module: nn.Module, path: Path) -> None:
    """Look whether a checkpoint of a run fits, without executing anything in it.

    Raises:
        NetworkError: if it is none, or of another network; it names missing and unexpected keys.
    """
    _fitting(_checkpoint_state(path), module.state_dict(), path)


def load_checkpoint(network: nn.Module, path: Path) -> None:
    """Load the network of a checkpoint of a run, or nothing at all; what else was trained with it is left out.

    Errors are those of `check_checkpoint`.
    """
    network.load_state_dict(_fitting(_under("network.", _checkpoint_state(path)), network.state_dict(), path))


def _checkpoint_state(path: Path) -> dict[str, Tensor]:
    content = read_file(path, "a checkpoint of a run")
    if not isinstance(content, Mapping) or "pytorch-lightning_version" not in content:
        raise NetworkError(f"{path}: not a checkpoint of a run; other weights are given as --model.network.weights")
    for part, value in content.items():
        if _holds_code(value):
            raise NetworkError(
                f"{path}: {part!r:.80} holds other things than tensors and plain containers; they are not loaded. "
                "The weights alone can be given as --model.network.weights"
            )
    return plain_state(content.get("state_dict"), path)


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


def convert(source: Path, target: Path, part: str | None = None) -> None:
    """Write the weights of any file that `read_weights` takes to a safetensors file, whole or not at all.

    Args:
        source: the file to read.
        target: the file to write.
        part: the prefix to take, where the source holds several networks, such as `state_dict_ema`.

    Raises:
        NetworkError: if the source is no file of weights, the target's name does not end in `.safetensors`, or it
            cannot be written.
    """
    if target.suffix != ".safetensors":
        raise NetworkError(f"{target}: the name of a safetensors file ends in .safetensors")
    state = {key: value.contiguous().clone() for key, value in read_weights(source, part=part).items()}
    try:
        content = save(state, {"format": "pt", "source": source.name})  # save_file() makes files that only we may read
    except (KeyError, ValueError) as error:
        raise NetworkError(f"{source}: safetensors cannot hold all of it ({reason(error)})") from error
    temporary = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise NetworkError(f"{target}: cannot be written ({reason(error)})") from error


def main(args: list[str]) -> None:
    """`convert SOURCE TARGET`: write the weights in a checkpoint to a safetensors file; nothing in it is executed."""
    parser = argparse.ArgumentParser("cli.py convert", description=main.__doc__)
    parser.add_argument("source", type=Path, help="a published checkpoint, such as imagenet_l2_3_0.pt, or one of a run")
    parser.add_argument("target", type=Path, help="the file to write, NAME.safetensors")
    parser.add_argument("--part", help="what to take of a file with several sets of weights, such as state_dict_ema")
    options = parser.parse_args(args)
    convert(options.source, options.target, options.part)
    print(options.target.resolve())
