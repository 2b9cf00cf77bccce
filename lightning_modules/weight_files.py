"""What a file that is given as weights or as a checkpoint holds, or what else it is."""

import os
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from lightning_modules.unpickling import load_tensors


class NetworkError(ValueError):
    """A network that does not exist, or weights that do not fit it; the message says which and what to do."""

    one_line = True


SAVE = "torch.save(network.state_dict(), path)"

_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer, not the weights themselves: run git lfs pull",
    b"\x1f\x8b": "compressed by gzip: unpack it first",
    b"BZh": "compressed by bzip2: unpack it first",
    b"\xfd7zXZ": "compressed by xz: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a rar archive: unpack it first",
    b"\x89HDF": f"HDF5, as Keras writes: save weights with {SAVE}",
    b"\x93NUMPY": f"a NumPy array: save weights with {SAVE}",
    b"<": "a web page, so the download failed: look at it in a browser",
}
"""What files begin with that are mistaken for weights."""


def read_file(path: Path, kind: str = "a file of weights") -> Any:
    """What `torch.save` or safetensors wrote into a file; nothing in it is executed, and what it cannot be is inert.

    A damaged file is told where it has checksums, as `torch.save` has written them since torch 1.6. Safetensors and
    older files have none.

    Args:
        path: the file; how it begins says which it is.
        kind: what it should be, for the message.

    Raises:
        NetworkError: if there is no such file, or it is damaged or something else.
    """
    if not os.path.isfile(path):  # Path.is_file() raises where a folder is closed to us
        raise NetworkError(f"{path}: {_no_file(path)}")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise NetworkError(f"{path}: cannot be read ({reason(error)})") from error
    other = _other(head, path)
    if other is not None:
        raise NetworkError(f"{path}: not {kind} ({other})")
    try:
        safe = path.suffix == ".safetensors" or head[8:9] == b"{"
        return load_file(path) if safe else load_tensors(path)
    except Exception as error:  # a broken pickle may raise anything
        raise NetworkError(
            f"{path}: not {kind} ({reason(error)}); save weights with {SAVE}, or download the file again"
        ) from error


def reason(error: Exception) -> str:
    """The first line of an error's message, which may quote a file."""
    return "".join(filter(str.isprintable, str(error).partition("\n")[0])) or "cut short"


def _no_file(path: Path) -> str:
    if not os.path.isdir(path):
        return "no regular file" if os.path.exists(path) else "no such weights file"
    try:
        inside = [name for name in sorted(os.listdir(path)) if name.endswith((".safetensors", ".bin", ".pt", ".pth"))]
    except OSError as error:
        return f"a folder that cannot be read ({reason(error)})"
    return (
        f"a folder; give a file in it, such as {inside[0]}" if inside else "a folder, and no file of weights is in it"
    )


def _other(head: bytes, path: Path) -> str | None:
    """What a file is that can be no weights, by its first bytes."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        return "it is empty"
    for start, what in _OTHERS.items():
        if (text if start == b"<" else head).startswith(start):
            return what
    if b"weight_map" in head or path.name.endswith(".index.json"):
        return "an index of weights in several files: join them into one"
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if path.suffix == ".onnx":
        return f"an ONNX model: save weights with {SAVE}"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        return "text"
    return None
