"""Averaged weights beside those that are read from a file: whoever has them means them, as a rule."""

import re
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from lightning_modules.unpickling import Inert

_AVERAGE = re.compile(r"(?<![a-z])(ema|swa|shadow|averaged?)(?![a-z])", re.IGNORECASE)
"""In what trainers call them, as a word."""

_LONGEST = 500  # characters of a name with all containers above; no network's is as long


def averages_left_out(content: Any, taken: Iterable[Tensor]) -> list[str]:
    """The names in a file that averaged weights go by, if they hold tensors, or what may be some, none of it taken.

    Args:
        content: of the file: containers in containers, tensors, and what cannot be read.
        taken: tensors of it that are used, or equal to such.
    """
    known = {id(tensor) for tensor in taken}
    found: dict[str, bool] = {}
    seen: set[int] = set()
    left = [("", content)]
    for way, each in left:  # which grows; nothing twice: a file may be nested as it likes
        if isinstance(each, dict | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            if isinstance(each, dict):
                left += [(f"{way}{key}.", value) for key, value in each.items() if _is_name(key, _LONGEST - len(way))]
            else:
                left += [(way, value) for value in each]
        elif isinstance(each, Inert) or (isinstance(each, Tensor) and each.ndim):
            match = _AVERAGE.search(way)
            if match:
                name = way[: way.index(".", match.end())]
                found[name] = found.get(name, False) or id(each) in known
    return [name for name, used in found.items() if not used]


def _is_name(key: Any, longest: int) -> bool:
    return isinstance(key, str) and len(key) < longest and key.isprintable()
