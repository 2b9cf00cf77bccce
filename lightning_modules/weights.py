"""Weights from files: data, never code."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


class NetworkError(ValueError):
    """A network that does not exist, or weights that do not fit it; the message says which and what to do."""


def load_weights(module: nn.Module, path: Path, drop: tuple[str, ...] = ()) -> None:
    """Load a state dict into `module`, whole or not at all.

    Args:
        module: what the weights are for.
        path: a file written by `torch.save`: a state dict, or a checkpoint of ours, whose `network.` prefix is dropped.
        drop: prefixes of keys to leave out, such as the head of a classifier whose backbone is wanted.

    Raises:
        NetworkError: if the file is missing, is no state dict, holds anything but tensors and plain containers, or its
            keys or shapes differ from the module's; nothing is executed and nothing changed then.
    """
    if not path.is_file():
        raise NetworkError(f"{path}: no such weights file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise NetworkError(
            f"{path}: not a file of plain tensors ({str(error).partition(chr(10))[0] or 'cut short'})"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise NetworkError(f"{path}: no state dict; save one with torch.save(network.state_dict(), path)")
    state = {key.removeprefix("network."): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if not key.startswith(drop)}
    own = module.state_dict()
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
    module.load_state_dict(state)
