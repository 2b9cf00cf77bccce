"""Which image files change the values they store, so that a label map in one is not what it was."""

from collections.abc import Iterator
from pathlib import Path

LOSSY = ("AVIF", "JPEG", "MPO")
"""Kinds that always do, or may."""

_LOSSLESS_WEBP = b"VP8L"
"""The chunk that a WebP file without loss begins with; others hold, or may hold, lossy frames."""

_START, _TILE, _DATA = b"\xff\x4f\xff\x51", b"\xff\x90", b"\xff\x93"
_STYLE, _STYLE_OF_ONE = b"\xff\x52", b"\xff\x53"
"""Markers of JPEG 2000 (ISO/IEC 15444-1, annex A): SOC and SIZ, SOT, SOD; COD and COC."""

_REVERSIBLE = 1
"""The wavelet of whole numbers. That some bits behind it were dropped, to reach a file size, no header says."""


def is_lossy(kind: str | None, path: Path) -> bool:
    """Whether an image file, `kind` in Pillow's words, stores other values than it was given."""
    if kind == "WEBP":
        return not path.read_bytes()[12:].startswith(_LOSSLESS_WEBP)
    if kind == "JPEG2000":
        return any(wavelet != _REVERSIBLE for wavelet in _wavelets(path.read_bytes()))
    return kind in LOSSY


def _wavelets(content: bytes) -> Iterator[int]:
    """The wavelets that the headers of a JPEG 2000 file and of its tiles name, for all components or for one."""
    at = content.find(_START) + 2
    few = content[at + 38 : at + 40] < b"\x01\x01"  # below 257 components, whose numbers take a byte
    end = 0
    while at < len(content) - 13:
        marker, length = content[at : at + 2], int.from_bytes(content[at + 2 : at + 4])
        if marker == _STYLE:
            yield content[at + 13]
        elif marker == _STYLE_OF_ONE:
            yield content[at + (10 if few else 11)]
        elif marker == _TILE:
            end = at + int.from_bytes(content[at + 6 : at + 10])  # of this part; 0 for the last one
        if marker != _DATA:
            at += 2 + length
        elif end > at:
            at = end
        else:
            return
