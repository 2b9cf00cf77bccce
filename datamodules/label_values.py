"""Which class the values and the colours of label maps stand for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.images import IGNORE_INDEX, DataError, check_labels

OTHER = "other"
"""Stands, in a mapping, for all values that are not in it."""


class LabelValues:
    """Turns the values of label maps, or their colours, into class indices, by a look into a table for each pixel.

    Args:
        classes: names of the classes, in label order.
        values: the class of each value (`255: object`) or of each colour (`"128,0,0": road` or `"#800000": road`); null
            instead of a class is void; `other` stands for all that are not named, but for the value 255. By default a
            value is a class index.
        void: more values that are void. 255 is void unless `values` names it.

    Raises:
        DataError: on an unknown class, a value named twice, and what is neither a value nor a colour.
    """

    def __init__(
        self, classes: Sequence[str], values: Mapping[Any, str | None] | None = None, void: Iterable[int] = ()
    ) -> None:
        self.classes, self.values, self.void = tuple(classes), values, tuple(void)
        twice = next((name for name in self.classes if self.classes.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"--data.classes: two are called {twice}; give each a name of its own")
        named: dict[int, str | None] = {}
        colours: set[bool] = set()
        for key, name in (dict(enumerate(self.classes)) if values is None else values).items():
            if key != OTHER:
                number, colour = _number(key)
                colours.add(colour)
                if len(colours | {False for _ in self.void}) > 1:
                    raise DataError("--data.values: colours, and values or --data.void; give void colours null instead")
                if number in named:
                    raise DataError(f"--data.values: {key} is named twice; keep one")
                named[number] = name
        self.colours = True in colours
        both = sorted(named.keys() & set(self.void)) if values is not None else []
        if both:
            raise DataError(f"--data.void: {both[0]} is in --data.values, too; keep one")
        self.says_what_255_is = not self.colours and (IGNORE_INDEX in self.void or IGNORE_INDEX in named)
        self.labels = {} if self.colours else {IGNORE_INDEX: IGNORE_INDEX}
        self.labels |= {number: self._label(name) for number, name in named.items()}
        self.labels |= dict.fromkeys(self.void, IGNORE_INDEX)
        self.other = self._label(values[OTHER]) if values is not None and OTHER in values else None

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker makes its own table: that of colours is large, though mostly empty."""
        return LabelValues, (self.classes, self.values, self.void)

    def _label(self, name: str | None) -> int:
        if name is not None and name not in self.classes:
            raise DataError(f"--data.values: no class {name!r}; the classes are {', '.join(self.classes[:30])}")
        return IGNORE_INDEX if name is None else self.classes.index(name)

    @cached_property
    def _table(self) -> np.ndarray:
        """The label of each value, plus one; 0 where there is none, as in the last place."""
        table = np.zeros((2**24 if self.colours else 2**16) + 1, dtype=np.uint16)  # untouched, it takes no memory
        for number, label in self.labels.items():
            table[number] = label + 1
        return table

    def __call__(self, stored: np.ndarray, path: Path) -> np.ndarray:
        """The labels of stored values, or of colours as `read_label_map` gives them.

        Raises DataError, with the file's path, if one stands for nothing.
        """
        if self.values is None and not self.void:
            return stored
        last = len(self._table) - 1
        inside = stored if stored.dtype in (np.uint8, np.uint16) else np.where(_between(stored, last), stored, last)
        labels = self._table[inside]
        unknown = labels == 0
        if unknown.any():
            if self.other is None:
                raise self._refusal(stored[unknown], path)
            labels[unknown] = self.other + 1
        return (labels - 1).astype(np.uint8)

    def _refusal(self, stored: np.ndarray, path: Path) -> DataError:
        if self.values is None:
            check_labels(stored, len(self.classes), path)
        value = int(stored[0])
        what = f"colour {_colour(value)}" if self.colours else f"value {value}"
        remedy = "add it there, with its class, or null for void; `other: null` makes all others void"
        return DataError(f"{path}: the label map has the {what}, which is not in --data.values; {remedy}")


def _between(stored: np.ndarray, end: int) -> np.ndarray:
    return (stored >= 0) & (stored < end)


def _colour(number: int) -> str:
    return f"{number >> 16},{number >> 8 & 255},{number & 255}"


def _number(key: Any) -> tuple[int, bool]:
    """The number of a value or, as red x 65536 + green x 256 + blue, of a colour; and whether it is a colour."""
    text = str(key).strip()
    if re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) and int(text) < 2**16:
        return int(text), False
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return int(text[1:], 16), True
    parts = re.fullmatch(r"\(?\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*\)?", text, re.ASCII)
    if parts and all(int(part) < 256 for part in parts.groups()):
        red, green, blue = map(int, parts.groups())
        return red << 16 | green << 8 | blue, True
    raise DataError(f"--data.values: {key!r} is neither a value, 0 to 65535, nor a colour, such as '128,0,0'")
