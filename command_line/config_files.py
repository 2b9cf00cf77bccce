"""Reading a config's YAML: a mistake is told with file and line, and nothing in it may grow without bound."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import _loaders_dumpers, set_loader
from jsonargparse._util import config_load_stack

CONFIGS = Path(__file__).parent.parent / "configs"

FILE = "config.yaml"
"""What a config is called in the folder of its run."""

LARGEST_FILE = 2**20
MOST_NODES = 20_000
"""How many values a config may hold, those that an alias stands for counted each time."""

DEEPEST = 50


class UserError(Exception):
    """A mistake of the user's, told in one line."""

    one_line = True  # what `cli.main` goes by


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2, in which `on`, `yes`, `1:30`, `2024-01-01` and `010` are text as they stand, and `3e-4` is a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  its own, none of version 1.1


_PLAIN = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)", list("-+0123456789")),
    "float": (
        r"[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    "merge": (r"<<", ["<"]),
}
for _name, (_pattern, _first) in _PLAIN.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")}


def found(config: str) -> str:
    """The path of a config, given by its path or by its name in configs/; raises UserError if there is none."""
    if not os.path.lexists(config) and os.path.isfile(CONFIGS / config):
        return str(CONFIGS / config)
    if not os.path.exists(config):
        known = ", ".join(sorted(path.name for path in CONFIGS.glob("*.yaml")))
        raise UserError(f"--config {config}: no such file; configs/ has {known}")
    return config


def read(path: Path) -> dict[str, Any]:
    """The sections of a config file.

    Raises:
        UserError: with file and line, if it cannot be read, is no YAML, has no sections, or is without bound.
    """
    text = _read(path)
    try:
        check(text, str(path))
        content = yaml.load(text, Loader)  # a loader of plain values
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        if mark and "\t" in (text + "\n").split("\n")[mark.line][: mark.column + 1]:
            problem += " (it has a tab: indent with spaces)"
        raise UserError(f"{path}{f':{mark.line + 1}' if mark else ''}: no YAML: {problem}") from error
    except ValueError as error:  # of a number with thousands of digits
        raise UserError(f"{path}: {error}") from error
    if not isinstance(content, dict) or not content:
        kind = "empty" if not content else f"a {'list' if isinstance(content, list) else 'text'}"
        raise UserError(f"{path}: a config has sections such as `model:` and `data:`; this file is {kind}")
    for key in content:
        if not isinstance(key, str):
            raise UserError(f"{path}: {key!r} is no section of a config")
    return content


def _read(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder; name a file in it" if path.is_dir() else "no regular file"
            raise UserError(f"--config {path}: this is {kind}")
        data = path.read_bytes() if path.stat().st_size <= LARGEST_FILE else None
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}") from error
    if data is None:
        raise UserError(f"--config {path}: larger than {LARGEST_FILE // 2**20} MiB; this is no config")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8 text; save it as UTF-8") from error


def load(text: str) -> Any:
    """Plain values of YAML that the command line or a part of a config in a file of its own gives."""
    stack = config_load_stack.get()
    check(text, stack[-1][1] if stack else "")
    return _loaders_dumpers.yaml_load(text)


def check(text: str, source: str) -> None:
    """Look at YAML before anything is built of it.

    Raises:
        UserError: on a key that is given twice, on values that stand for themselves or for too many, on deep nesting,
            tags, or several documents.
        yaml.YAMLError: if it is no YAML.
    """
    where = f"{source}:" if source else "line "
    for line, problem in _problems(text):
        raise UserError(f"{where}{line}: {problem}")


class _Open:
    """A list or mapping that has begun: how many values it has so far, and which keys."""

    def __init__(self, event: yaml.Event) -> None:
        self.anchor = event.anchor
        self.keys: dict[str, int] | None = {} if isinstance(event, yaml.MappingStartEvent) else None
        self.at_key = self.keys is not None
        self.size = 1


def _problems(text: str) -> Iterator[tuple[int, str]]:
    sizes: dict[str, int] = {}
    opened = [_Open(yaml.SequenceStartEvent(None, None, True))]
    documents = 0
    for event in yaml.parse(text, Loader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                yield line, "a second document begins (---); a config is one"
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = opened.pop()
            opened[-1].size += closed.size
            if closed.anchor:
                sizes[closed.anchor] = closed.size
        elif isinstance(event, yaml.NodeEvent):
            parent = opened[-1]
            if getattr(event, "tag", None) not in (None, "!", *_TAGS):
                yield line, f"the tag {event.tag} has no meaning here"
            if parent.keys is not None:
                if parent.at_key:
                    if not isinstance(event, yaml.ScalarEvent):
                        yield line, "a key is a word, not a list, mapping or alias"
                    if event.value in parent.keys:
                        yield line, f"{event.value!r} is given twice, first in line {parent.keys[event.value]}"
                    parent.keys[event.value] = line
                parent.at_key = not parent.at_key
            if isinstance(event, yaml.AliasEvent):
                if event.anchor not in sizes:
                    inside = any(each.anchor == event.anchor for each in opened)
                    yield line, f"*{event.anchor} {'stands for itself' if inside else 'stands for nothing'}"
                parent.size += sizes[event.anchor]
            elif isinstance(event, yaml.ScalarEvent):
                parent.size += 1
                if event.anchor:
                    sizes[event.anchor] = 1
            else:
                opened.append(_Open(event))
            if len(opened) > DEEPEST:
                yield line, f"nested more than {DEEPEST} deep"
            if sum(each.size for each in opened) > MOST_NODES:
                yield line, f"more than {MOST_NODES} values; this is no config"


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


set_loader("yaml", load, (yaml.YAMLError,))
_loaders_dumpers.yaml_default_loader = Loader  # type: ignore[assignment]  # also where a number or a truth is wanted and a text is given
