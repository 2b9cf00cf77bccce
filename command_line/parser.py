"""The parser: configs by their names, and a mistake told in one line."""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

import command_line.class_paths  # noqa: F401  looks at what a class path names before it is called
from command_line.config_files import UserError, found, read


class FindConfig(ActionConfigFile):
    """`--config at101.yaml` finds `configs/at101.yaml`, unless there is such a file here."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        if "\n" not in values and "{" not in values:
            values = found(values)
            groups = {action.dest for action in parser._actions if type(action).__name__ == "_ActionConfigLoad"}
            for section, content in read(Path(values)).items():
                if section in groups and not isinstance(content, dict):
                    raise UserError(f"{values}: {section}: a section holds arguments and their values, not {content!r}")
        super().__call__(parser, cfg, values, option_string)


class Parser(LightningArgumentParser):
    """A parser that tells a mistake in one line, and takes no option by its first letters: a typo is an error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        message += self._which(message)
        if not self.exit_on_error or os.environ.get("SADDLE_DEBUG"):  # a parser within a parser hands it on
            super().error(message, ex)
        raise UserError(deepest(message)) from ex

    def _which(self, message: str) -> str:
        """The arguments that there are, where a message says that one is not there."""
        unknown = _UNKNOWN.fullmatch(message)
        if not unknown:
            return ""
        key = ".".join(part for part in unknown.groups() if part)
        known = [action.dest for action in self._actions if "--" + action.dest in action.option_strings]
        close = difflib.get_close_matches(key, known, n=1)
        if close:
            return f"; did you mean {close[0]}?"
        section = key.rpartition(".")[0]
        there = [name for name in known if name.rpartition(".")[0] == section and name not in _OTHER]
        return f"; there are {', '.join(there)}" if 0 < len(there) <= 20 else ""


_UNKNOWN = re.compile(r"(?:Group '([\w.]+)' does not accept option|Option|unrecognized arguments:) '?-*([\w.]+).*")
_OTHER = ("help", "config", "print_config", "print_shtab")

# Lines of jsonargparse's nested messages that say where it looked, not what is wrong.
_AROUND = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value|Problem with given|Parser key|Expected a path but|"
    r"Expected a <class 'NoneType'>"
)


def deepest(message: str) -> str:
    """The one line of a nested parser message that says what is wrong, after the key it is about."""
    message = re.sub(r"Type .*? expects a function or a callable class: |\. Got value: Namespace\(.*", "", message)
    reason, key = next(_reasons(message), (message.strip().splitlines()[-1].strip(), ""))
    reason = re.sub(r"\. Got value: (.*)", r", not \1", reason)
    reason = re.sub(r"Not a valid subclass of (\w+)", r"Expected a class (\1), by name or by class_path", reason)
    given = re.search(r"Given value: (.{1,60})$", message, re.MULTILINE)
    if given and reason.startswith("Expected") and ", not " not in reason:
        reason += f", not {given.group(1)}"
    if reason.startswith("Expected a <class 'str'>, not "):
        reason += "; in quotes it is text"
    return f"{key}: {reason}" if key and key not in reason else reason


def _reasons(message: str) -> Iterator[tuple[str, str]]:
    """Lines that say what is wrong, each with the whole key of the argument that it is about."""
    keys: list[tuple[int, str]] = []
    for line in message.splitlines():
        text = line.strip().removeprefix("- ")
        if not text:
            continue
        depth = len(line) - len(line.lstrip(" -"))
        keys = [(at, key) for at, key in keys if at < depth]
        if key := re.match(r"Parser key \"([\w.+-]+)\":?(.*)", text):
            keys.append((depth, key.group(1)))
            text = key.group(2).strip()
        if text and not _AROUND.match(text):
            yield text, ".".join(key for _, key in keys)
