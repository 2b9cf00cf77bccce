"""How command lines and configs are read: configs by their names, and a mistake told in one line."""

import os
import re
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

import class_paths  # noqa: F401  looks at what a class path names before it is called
from config_files import UserError, check_file

CONFIGS = Path(__file__).parent / "configs"


class FindConfig(ActionConfigFile):
    """`--config at101.yaml` finds `configs/at101.yaml`, unless there is such a file here."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        inline = "\n" in values or "{" in values
        if not inline:
            if not os.path.lexists(values) and os.path.isfile(CONFIGS / values):
                values = str(CONFIGS / values)
            if not os.path.exists(values):
                known = ", ".join(sorted(path.name for path in CONFIGS.glob("*.yaml")))
                raise UserError(f"--config {values}: no such file; configs/ has {known}")
            check_file(Path(values))
        super().__call__(parser, cfg, values, option_string)


class Parser(LightningArgumentParser):
    """A parser that tells a mistake in one line, and takes no option by its first letters: a typo is an error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if os.environ.get("SADDLE_DEBUG"):
            super().error(message, ex)
        raise UserError(deepest(message)) from ex


# Lines of jsonargparse's nested messages that say where it looked, not what is wrong.
_AROUND = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value|Problem with|Parser key|Expected a path but|"
    r"Expected a <class 'NoneType'>|Type \S*Callable\S* expects|.* to be a subclass of <class 'Tensor'>"
)


def deepest(message: str) -> str:
    """The one line of a nested parser message that says what is wrong, after the key it is about."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines() if line.strip()]
    reason = next((line for line in lines if not _AROUND.match(line)), lines[-1])
    reason = re.sub(
        r"Expected a dot import path string: (\S+)",
        r"no class or function \1; ours go by their names, such as PGD, others by their import path",
        reason,
    )
    given = re.search(r"Given value: (.{1,60})$", message, re.MULTILINE)
    if given and reason.startswith("Expected"):
        reason += f", not {given.group(1)}"
    key = re.search(r"Parser key \"([\w.+-]+)\"", message)
    return f"{key.group(1)}: {reason}" if key and key.group(1) not in reason else reason
