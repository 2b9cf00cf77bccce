"""Reading files of `torch.save` that name arbitrary code, without running any of it.

Published checkpoints are pickles, often dill's, that hold tensors and also optimizers, schedules and numpy scalars.
Here tensors and plain containers are made, and whatever else a pickle names becomes an object that does nothing.
"""

import os
import pickle
import tarfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn
from zipfile import BadZipFile, ZipFile, ZipInfo

import torch
from torch import Tensor


def load_tensors(path: Path) -> Any:
    """What `torch.save` wrote into a file, tensors on the CPU, everything but tensors and plain containers inert.

    Files since torch 1.6 are archives with a checksum of each record, which is compared; torch itself does not look at
    them. Older files have none, nor have those written after `torch.serialization.set_crc32_options(False)`.

    Raises:
        Exception: of many kinds, if the file is none of `torch.save`, or is damaged.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PK\x03\x04":
        _check_archive(path)
    elif head[:1] != b"\x80" or tarfile.is_tarfile(path):
        raise ValueError("none of torch.save's")
    if os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD"):
        raise ValueError("the environment variable TORCH_FORCE_WEIGHTS_ONLY_LOAD is in the way: unset it")

    class Bounded(Unpickler):
        limit = path.stat().st_size

    def load(file: Any, **options: Any) -> Any:  # torch.load asks for this in the format of torch before 1.6
        return Bounded(file, **options).load()

    reader = SimpleNamespace(__name__=__name__, Unpickler=Bounded, load=load)
    return torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)


def _check_archive(path: Path) -> None:
    """Look whether an archive is one that `torch.save` writes, and whole."""
    with ZipFile(path) as archive:
        records = archive.infolist()
        if not any(record.filename.endswith("/data.pkl") for record in records):
            raise ValueError(f"a zip archive of other things, such as {records[0].filename if records else 'nothing'}")
        if "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():  # torch.load would run it
            raise ValueError("a TorchScript archive, which holds code")
        if any(record.compress_type for record in records):
            raise ValueError("a compressed archive, which may be of any size")
        if sum(record.file_size for record in records) > path.stat().st_size:
            raise ValueError("its records are larger than the file")  # they overlap: to read them might take for ever
        for record in records:
            if record.CRC:  # 0 where checksums were switched off
                _check_record(archive, record)


def _check_record(archive: ZipFile, record: ZipInfo) -> None:
    try:
        with archive.open(record) as content:
            while content.read(2**18):  # compares the checksum at the end
                pass
    except BadZipFile as error:
        raise ValueError(f"damaged: {record.filename} does not match its checksum") from error


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


def _tensor(
    flat: Tensor | Inert, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor | Inert:
    """A tensor within the values that the file holds; strides of zero could make it of any size."""
    if isinstance(flat, Inert):
        return flat
    tensor = flat.as_strided(size, stride, offset)
    return tensor if tensor.numel() <= flat.numel() else Inert()


def _ordered(pairs: list[Any] | None = None) -> OrderedDict[Any, Any]:
    """A dict of pairs, which are taken away: a few bytes could ask for many copies of them."""
    made: OrderedDict[Any, Any] = OrderedDict(pairs or ())
    if pairs is not None:
        pairs.clear()
    return made


def _counter(counts: Any = None) -> Counter[Any]:
    """Of numbers by key, such as the epochs in the state of torch's MultiStepLR; they are moved, as above."""
    made: Counter[Any] = Counter()
    if isinstance(counts, dict):
        dict.update(made, counts)
        counts.clear()
    return made


class Unpickler(pickle._Unpickler):
    """A pickle can only call what this finds for it, and change nothing of that; nor does it take memory as it likes.

    Of the two in the standard library this is the one in Python: that in C remembers under any number.
    """

    limit: int
    """The size of the file, in bytes, which nothing in it exceeds."""
    read: Callable[[int], bytes]
    stack: list[Any]

    KNOWN: ClassVar[dict[tuple[str, str], Callable[..., Any]]] = {
        ("collections", "Counter"): _counter,
        ("collections", "OrderedDict"): _ordered,
        ("torch._utils", "_rebuild_tensor"): _tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    }
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: lambda self: self.stack.pop(),  # would set attributes
        pickle.BINPERSID[0]: lambda self: self.append(self.storage(self.stack.pop())),
        pickle.BYTEARRAY8[0]: lambda self: self.append(self.byte_array()),
        pickle.ADDITEMS[0]: lambda self: self.add(self.pop_mark()),
        **dict.fromkeys((pickle.EXT1[0], pickle.EXT2[0], pickle.EXT4[0]), lambda self: self.refuse("extensions")),
    }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sizes: dict[Any, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        return self.KNOWN.get((module, name), Inert)

    def storage(self, saved: Any) -> Tensor | Inert:
        """The values of a storage; torch also knows modules, and writes a patch to disk where their source differs."""
        if saved[0] != "storage" or not hasattr(saved[1], "dtype"):
            return Inert()
        size = self.sizes[saved[2]] = saved[4] * saved[1].dtype.itemsize
        if size < 0 or sum(self.sizes.values()) > self.limit:
            self.refuse("values that are not in the file")
        storage = self.persistent_load(saved)
        try:
            flat = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
        except NotImplementedError:  # quantized
            return Inert()
        return flat.zero_() if len(saved) > 5 else flat  # before torch 1.6 values come last, or never

    def byte_array(self) -> bytearray:
        length = int.from_bytes(self.read(8), "little")
        if length > self.limit:
            self.refuse("bytes that are not in the file")
        return bytearray(self.read(length))

    def add(self, items: list[Any]) -> None:
        """To a set; to a tensor would add numbers."""
        if isinstance(self.stack[-1], set):
            self.stack[-1].update(items)

    @staticmethod
    def refuse(what: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {what}")
