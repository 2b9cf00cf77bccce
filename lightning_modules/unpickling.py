"""Reading files of `torch.save` that name arbitrary code, without running any of it.

Published checkpoints are pickles, often dill's, that hold tensors and also optimizers, schedules and numpy scalars.
Here tensors and plain containers are made, and whatever else a pickle names becomes an object that does nothing.
"""

import pickle
import sys
import tarfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar

import torch
from torch import Tensor


def load_tensors(path: Path) -> Any:
    """What `torch.save` wrote into a file, tensors on the CPU, everything but tensors and plain containers inert.

    Raises:
        Exception: of many kinds, if the file is none of `torch.save`.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PK\x03\x04":
        records = torch._C.PyTorchFileReader(str(path)).get_all_records()
        if "constants.pkl" in records:  # torch.load would hand it to torch.jit.load
            raise ValueError("a TorchScript archive, which holds code")
    elif head[:1] != b"\x80" or tarfile.is_tarfile(path):
        raise ValueError("none of torch.save's")
    return torch.load(path, map_location="cpu", pickle_module=sys.modules[__name__], weights_only=False)


class Inert:
    """Stands for what is neither a tensor nor a plain container: takes all that unpickling does, does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "Inert":
        return object.__new__(Inert)  # `cls` may be inert, too: a class that dill made

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> "Inert":
        return Inert()

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...


def _tensor(flat: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor | Inert:
    """A tensor within the values that the file holds; strides of zero could make it of any size."""
    tensor = flat.as_strided(size, stride, offset)
    return tensor if tensor.numel() <= flat.numel() else Inert()


def _storage(saved: Any, load: Callable[[Any], Any]) -> Tensor | Inert:
    """The values of a storage; torch also knows modules, and writes a patch to disk where their source differs."""
    if saved[0] != "storage" or not hasattr(saved[1], "dtype"):
        return Inert()
    storage = load(saved)
    flat = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
    return flat.zero_() if len(saved) > 5 else flat  # before torch 1.6 values come last, or never


class Unpickler(pickle._Unpickler):
    """A pickle can only call what this finds for it, and change nothing of that.

    Of the two in the standard library this is the one in Python: that in C takes as much memory as a pickle likes.
    """

    KNOWN: ClassVar[dict[tuple[str, str], Callable[..., Any]]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor"): _tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    }
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: lambda self: self.stack.pop(),  # would set attributes
        pickle.BINPERSID[0]: lambda self: self.append(_storage(self.stack.pop(), self.persistent_load)),
    }

    def find_class(self, module: str, name: str) -> Any:
        return self.KNOWN.get((module, name), Inert)


def load(file: IO[bytes], **options: Any) -> Any:
    """The next pickle of a file; `torch.load` asks for this in the format of torch before 1.6."""
    return Unpickler(file, **options).load()
