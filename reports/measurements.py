"""What runs measured, side by side: a row per measurement, a column per run."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from reports.files import read_results

FORMATS = {"terminal": "rounded_outline", "markdown": "github", "latex": "latex_booktabs"}
"""Our names of formats, and tabulate's."""

MARK = "*"
"""Stands at what cannot be trusted."""


@dataclass
class Comparison:
    """A table of strings, and notes to stand below it."""

    runs: list[str]
    rows: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def text(self, form: str) -> str:
        """The table and its notes as text, in one of `FORMATS`."""
        cells = [[name, *row] for name, row in self.rows.items()]
        align = ("left", *["right"] * len(self.runs))
        table = tabulate(
            cells, ["", *self.runs], FORMATS[form], colalign=align if cells else None, disable_numparse=True
        )
        return "\n".join([table, *("% " * (form == "latex") + note for note in self.notes)])


def compare(runs: list[Path]) -> Comparison:
    """Accuracy and mIoU in percent of every version of the images, what each attack cost, and the synthesis scores.

    The numbers under attack of a network that failed the sanity gate are marked, and a note says why.
    """
    comparison = Comparison([run.name for run in runs])
    for column, run in enumerate(runs):
        results = read_results(run)
        for name, value in _measurements(results):
            comparison.rows.setdefault(name, [""] * len(runs))[column] = value
        failed = [check for check in (results.get("sanity") or {}).get("checks", []) if not check["passed"]]
        if failed:
            why = "; ".join(f"not so: {check['name']} ({check['found']})" for check in failed)
            comparison.notes.append(f"{MARK} {run.name} may hide its gradients, and then attacks prove nothing: {why}")
    return comparison


def _measurements(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    trusted = (results.get("sanity") or {"passed": True})["passed"]
    for version, values in results["metrics"].items():
        mark = "" if trusted or version == "clean" else MARK
        for name, key in (("accuracy", "accuracy"), ("mIoU", "miou")):
            if key in values:
                yield f"{version} {name}", f"{100 * values[key]:.1f} %{mark}"
    for attack, cost in results.get("cost", {}).items():
        yield f"{attack} forwards + backwards", f"{cost['forwards']:.0f} + {cost['backwards']:.0f}"
    for task, scores in results.get("synthesis", {}).items():
        for name, value in scores.items():
            yield f"{task} {name.replace('_', ' ')}", f"{value:.4f}"
