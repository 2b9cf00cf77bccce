"""The segmentation of an instance in COCO's annotation files: polygons, or run lengths."""

from array import array
from collections.abc import Mapping
from math import isnan
from typing import Any

import numpy as np
from msgspec import Raw
from pycocotools import mask

from datamodules.coco_parts import parsed


class RecordError(ValueError):
    """What is wrong with the records of an annotation file, and perhaps a remedy of its own."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


def pixels(record: Mapping[str, Any], height: int, width: int) -> int:
    """How many pixels an annotation covers; raises RecordError if it cannot be drawn."""
    pieces, run_lengths = pieces_of(record["segmentation"], height, width, record["id"])
    if not run_lengths and any(_far(min(piece), max(piece), height + width) or isnan(sum(piece)) for piece in pieces):
        raise RecordError(_FAR.format(record["id"]))
    return int(mask.area(encoded([*map(list, pieces)], height, width, run_lengths))) if pieces else 0


def encoded(pieces: list[list[float]], height: int, width: int, run_lengths: bool) -> Any:
    """What pycocotools makes of polygons, one or more, or of run lengths in one piece."""
    if run_lengths:
        return mask.frPyObjects({"counts": [int(n) for n in pieces[0]], "size": [height, width]}, height, width)
    return mask.merge(mask.frPyObjects(pieces, height, width))


def pieces_of(segmentation: Any, height: int, width: int, key: int) -> tuple[list[Any], bool]:
    """The segmentation of an instance as lists of numbers, and whether it is run lengths, which are written out."""
    shape = parsed(segmentation) if isinstance(segmentation, Raw) else segmentation
    try:
        if isinstance(shape, list):
            for polygon in shape if shape is segmentation else ():
                if not isinstance(polygon, array) or len(polygon) % 2:
                    raise ValueError("a polygon is numbers, x and y by turns")
            return [polygon for polygon in shape if len(polygon) >= 6], False  # fewer points enclose nothing
        counts = shape["counts"]
        if shape["size"] != [height, width]:
            raise ValueError(f"its size is {shape['size']}, its image's {[height, width]}")
        runs = array("q", _decompressed(counts) if isinstance(counts, str) else counts)
        if sum(runs) != height * width or min(runs) < 0:
            raise ValueError("its run lengths do not cover the image")
        return [runs], True
    except (ValueError, TypeError, OverflowError, KeyError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise RecordError(f"the segmentation of annotation {key} cannot be drawn ({reason})") from None


def _decompressed(text: str) -> list[int]:
    """The run lengths in COCO's compressed form: 5 bits a character, low ones first, a sixth where more follow.

    From the fourth on they are differences to the last but one.
    """
    runs: list[int] = []
    value = shift = 0
    for code in text.encode():
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError("its run lengths hold a foreign character")
        value |= (bits & 31) << shift
        shift += 5
        if shift > 60:
            raise ValueError("a run length of more than 60 bits")
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its run lengths are cut off")
    return runs


_FAR = "the segmentation of annotation {} cannot be drawn (a polygon lies far outside of its image)"


def _far(low: Any, high: Any, reach: Any) -> Any:
    """Whether numbers between two lie far outside of an image; `reach` is its height and width."""
    return (low < -reach) | (high > 2 * reach)


def check_reach(
    run_lengths: np.ndarray,
    first_piece: np.ndarray,
    first_number: np.ndarray,
    numbers: np.ndarray,
    reach: np.ndarray,
    keys: list[int],
) -> None:
    pieces = np.diff(first_piece)
    low, high = (function.reduceat(numbers, first_number[:-1]) for function in (np.minimum, np.maximum))
    far = _far(low, high, reach.repeat(pieces)) | np.isnan(low)
    for piece in np.flatnonzero(far & ~run_lengths.repeat(pieces)):
        raise RecordError(_FAR.format(keys[np.searchsorted(first_piece, piece, "right") - 1]))
