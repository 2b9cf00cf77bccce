"""Label maps as PNGs of one plain form, which is read in a third of the time that a reader of all forms takes."""

import struct
import zlib

import numpy as np

_GREY_OF_8_BITS = bytes((8, 0, 0, 0, 0))
_END = b"\0\0\0\0IEND\xae\x42\x60\x82"


def plain_png(label: np.ndarray) -> bytes:
    """A grey PNG of a label map, uint8 `(H, W)`: lines without a filter, compressed in one piece."""
    lines = np.pad(label, ((0, 0), (1, 0)))  # before each, the number of its filter: 0, none
    return _start(*label.shape) + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 1)) + _END


def read_plain_png(content: bytes, height: int, width: int) -> np.ndarray:
    """The label map that `plain_png` wrote, uint8 `(H, W)`; raises ValueError on all else, as after damage."""
    start = _start(height, width)
    try:
        lines = np.frombuffer(zlib.decompress(content[len(start) + 8 : -len(_END) - 4]), dtype=np.uint8)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not content.startswith(start) or not content.endswith(_END) or lines.size != height * (width + 1):
        raise ValueError("another size, or no PNG of this form")
    return np.ascontiguousarray(lines.reshape(height, width + 1)[:, 1:])


def _start(height: int, width: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">II", width, height) + _GREY_OF_8_BITS)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
