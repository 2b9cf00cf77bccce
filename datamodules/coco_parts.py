"""COCO's annotation files by parts, so that of a large one little is in memory at a time."""

import re
import struct
from array import array
from collections.abc import Callable, Iterator
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, MsgspecError, Raw, Struct, defstruct
from msgspec.json import Decoder

PART = 2**17
"""Bytes of a part, about: what a processor keeps at hand."""


class UnusualError(Exception):
    """A file that is not read by parts."""


UNUSUAL = (UnusualError, MsgspecError, RecursionError, OverflowError)
"""What is raised, early or late, on all that is not UTF-8 and plain JSON with records of the right types. Whoever reads
the file whole tells what is wrong with it, if anything."""


class Image(Struct, gc=False):
    """What is used of an image's record."""

    id: int
    file_name: str
    height: int
    width: int


class Annotation(Struct, gc=False):
    """What is used of an annotation's record."""

    id: int
    image_id: int
    category_id: int
    area: float
    segmentation: list[Any] | dict[str, Any]


class Category(Struct, gc=False):
    """What is used of a category's record."""

    id: int
    name: str


KINDS: dict[str, type[Struct]] = {"images": Image, "annotations": Annotation, "categories": Category}
"""The lists of an annotation file."""


class _Unparsed(Annotation, gc=False):
    segmentation: Raw  # type: ignore[assignment]


_LISTS: dict[str, Decoder[Any]] = {
    "images": Decoder(list[Image]),
    "annotations": Decoder(list[_Unparsed]),
    "categories": Decoder(list[Category]),
}
_REST = Decoder(defstruct("_Rest", [(kind, Annotated[list[Any], Meta(max_length=0)]) for kind in KINDS]))
_ID = attrgetter("id")
_BEGINNING = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_END, _LAST_SEAM = re.compile(rb"(\}\s*)\]"), re.compile(rb".*(\}\s*,\s*)\{", re.DOTALL)
"""Where a list of records ends, or its last two meet. Within a record it cuts parts that cannot be parsed."""


class Parts:
    """The records of an annotation file, by kind.

    The parts are guessed. That each is a list of records, and what is left a file without any, proves them right.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spans: dict[str, list[tuple[int, int]]] = {}
        kind, rest, text, offset = None, b"", b"", 0
        with path.open("rb") as file:
            while block := file.read(PART):
                text, at = text + block, 0
                while True:
                    if kind is None:
                        if not (found := _BEGINNING.search(text, at)):
                            break
                        kind = found[1].decode()
                        if kind in self.spans:
                            raise UnusualError(f"{kind} twice")
                        self.spans[kind], rest, at = [], rest + text[at : found.end()], found.end()
                    ended = _END.search(text, at)
                    if not (found := ended or _LAST_SEAM.match(text, at)):
                        break
                    self.spans[kind].append((offset + at, offset + found.start(1) + 1))
                    at = found.end() - 1
                    if not ended:
                        break
                    kind = None
                text, offset = text[at:], offset + at
        _REST.decode(rest + text)

    def records(self, kind: str) -> Iterator[list[Any]]:
        """The records of `images`, `categories` or `annotations`, in order; the file holds no two of one id."""
        ids = array("q")
        with self.path.open("rb") as file:
            for start, end in self.spans[kind]:
                file.seek(start)
                records = _LISTS[kind].decode(b"[" + file.read(end - start) + b"]")
                ids.extend(map(_ID, records))
                yield records
        ordered = np.sort(np.frombuffer(ids, dtype=np.int64))
        if (ordered[1:] == ordered[:-1]).any():
            raise UnusualError(f"{kind} of one id")


_SEGMENTATION: Decoder[Any] = Decoder(list[list[float]] | dict[str, Any])


def parsed(segmentation: Raw) -> dict[str, Any] | list[list[float]]:
    """Run lengths, or polygons, each x and y by turns."""
    shape = _SEGMENTATION.decode(segmentation)
    if isinstance(shape, list):
        for polygon in shape:
            if len(polygon) % 2:
                raise UnusualError("half a point")
    return shape


@cache
def packing(numbers: int) -> Callable[..., bytes]:
    """Makes float64 of so many numbers, in a third of the time that an array takes."""
    return struct.Struct(f"{numbers}d").pack
