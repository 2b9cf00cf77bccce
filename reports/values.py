"""Values of JSON that anybody wrote, each of the kind that is asked for, or a ValueError that says which it is."""

import math
import reprlib
from typing import Any

from reports.wording import as_number

MANY = 1e15
"""More than there is to count."""


def number(value: Any, key: str, what: str = "a number") -> float:
    found = as_number(value)
    return odd(value, key, what) if found is None else found


def count(value: Any, key: str) -> float:
    found = number(value, key)
    return found if 0 <= found < MANY else odd(value, key, "a count")


def perhaps(value: Any, key: str) -> float | None:
    """A count, where there is one."""
    return None if value is None else count(value, key)


def share(value: Any, key: str) -> float | None:
    """A fraction of 1; NaN is what there is where nothing could be measured."""
    found = math.nan if value is None else number(value, key, "a fraction of 1")
    if math.isnan(found):
        return None
    return found if 0 <= found <= 1 else odd(value, key, "a fraction of 1")


def as_dict(value: Any, key: str) -> dict[str, Any]:
    return {} if value is None else value if isinstance(value, dict) else odd(value, key, "an object")


def dicts(value: Any, key: str) -> dict[str, dict[str, Any]]:
    return {name: as_dict(each, f"{key}.{name}") for name, each in as_dict(value, key).items()}


def as_list(value: Any, key: str) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else odd(value, key, "a list")


def texts(value: Any, key: str) -> list[str]:
    return [text(each, key) for each in as_list(value, key)]


def text(value: Any, key: str) -> str:
    return "" if value is None else value if isinstance(value, str) else odd(value, key, "a text")


def boolean(value: Any, key: str) -> bool:
    return value if isinstance(value, bool) else odd(value, key, "true or false")


def odd(value: Any, key: str, what: str) -> Any:
    raise ValueError(f"{key} is {reprlib.repr(value)}, not {what}")
