"""Nulls in a config where there is nothing to leave out: the parser lets them pass, and they fail later, somewhere.

The parser has a setting for it, `unset_sentinel`, but then writes configs that it cannot read itself (findings/).
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from jsonargparse import Namespace
from jsonargparse._util import import_object

from command_line.config_files import UserError


def check_nulls(config: Namespace, **sections: type) -> None:
    """Look through a config for nulls that are no choice.

    Args:
        config: of a command.
        sections: the classes whose arguments sections of it are, by the section's name.

    Raises:
        UserError: if an argument is null that is no number, text or class without being left out.
    """
    for name, value in vars(config).items():
        found = _of_arguments(name, value, sections[name]) if name in sections else _below(name, value)
        for path in found:
            raise UserError(f"{path} null: is nothing; give a value, or leave it out")


def _of_arguments(path: str, given: Any, kind: Any) -> Iterator[str]:
    """Where arguments of a class or a function, or what is in them, are null and cannot be."""
    hints: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    with suppress(Exception):  # of anybody's annotations
        call = kind.__init__ if inspect.isclass(kind) else kind
        hints = get_type_hints(call)
        defaults = {name: each.default for name, each in inspect.signature(call).parameters.items()}
    for name, value in _items(given):
        hint = hints.get(name, Any)
        if value is None and defaults.get(name) is not None and not _takes_none(hint):
            yield f"{path}.{name}"
        inner = [each for each in get_args(hint) if get_origin(each) in (list, dict)] or [hint]
        entry = get_args(inner[0])[-1] if get_origin(inner[0]) in (list, dict) else Any
        for key, each in _entries(value):
            if each is None and not _takes_none(entry):
                yield f"{path}.{name}.{key}"
        yield from _below(f"{path}.{name}", value)


def _below(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Namespace) and isinstance(value.get("class_path"), str):
        kind = None
        with suppress(Exception):
            kind = import_object(value.class_path)
        yield from _of_arguments(path, value.get("init_args"), kind)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _below(f"{path}.{place}", each)
    elif isinstance(value, dict | Namespace):
        for name, each in _items(value):
            yield from _below(f"{path}.{name}", each)


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    yield from enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, Namespace):
        yield from vars(value).items()


def _takes_none(hint: Any) -> bool:
    return hint in (Any, None, NoneType, inspect.Parameter.empty) or NoneType in get_args(hint)
