"""A table of texts, written for a terminal, for Markdown or for LaTeX."""

import os
import re
import sys
from dataclasses import dataclass, field

from tabulate import tabulate

from reports.files import ReportError

FORMATS = {"terminal": "rounded_outline", "markdown": "github", "latex": "latex_booktabs"}
"""Our names of formats, and tabulate's."""


@dataclass
class Comparison:
    """A table of printable texts, what its cells mean, and notes to stand below it."""

    runs: list[str]
    rows: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    legend: str = ""

    def cells(self) -> list[str]:
        """All cells, in no order that matters."""
        return [cell for row in self.rows.values() for cell in row]

    def text(self, form: str) -> str:
        """The table and its notes as text, in one of `FORMATS`; what the format would take for a command is escaped."""
        cells = [["", *self.runs], *([name, *row] for name, row in self.rows.items())]
        notes = [self.legend, *self.notes] if self.legend else self.notes
        if form == "markdown":
            cells = [[_markdown(cell) for cell in row] for row in cells]
            notes = [_markdown(note) for note in notes]
        align = ("left", *["right"] * len(self.runs)) if self.rows else None
        table = tabulate(cells[1:], cells[0], FORMATS[form], colalign=align, disable_numparse=True)
        if form == "latex":  # tabulate escapes the rest
            table = re.sub(r"^(\s*)([\[*])", r"\1{}\2", table, flags=re.MULTILINE)  # else it belongs to the \\ before
            table = table.replace("±", r"$\pm$")
            notes = [f"% {note}" for note in notes]
        return ("\n\n" if form == "markdown" else "\n").join([table, *notes])  # else it would be a row of the table


def _markdown(text: str) -> str:
    """A text that Markdown shows as it is; a `_` inside a word means nothing there."""
    return re.sub(r"([\\`*|<>&~$]|\](?=[(\[:])|(?<!\w)_|_(?!\w))", r"\\\1", text)


def say(text: str) -> None:
    """Print; a reader that has seen enough is no error, and what a terminal cannot show becomes a question mark."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries again when it ends
    except OSError as error:
        raise ReportError(f"the table cannot be printed: {error.strerror}") from None
