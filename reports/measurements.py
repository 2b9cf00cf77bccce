"""What runs measured, side by side: a row per measurement, a column per run."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
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
        cells = [["", *self.runs], *([name, *row] for name, row in self.rows.items())]
        if form == "markdown":
            cells = [[cell.replace("|", r"\|") for cell in row] for row in cells]
        align = ("left", *["right"] * len(self.runs)) if self.rows else None
        table = tabulate(cells[1:], cells[0], FORMATS[form], colalign=align, disable_numparse=True)
        notes = ["% " * (form == "latex") + note for note in self.notes]
        return ("\n\n" if form == "markdown" else "\n").join([table, *notes])  # else it would be a row of the table


def compare(runs: list[Path]) -> Comparison:
    """Accuracy and mIoU in percent of every version of the images, what each attack cost, and the synthesis scores.

    The numbers under attack of a network that failed the sanity gate are marked, and a note says why. Other notes say
    what stands in one row and is not the same: other attacks under one name, other data.
    """
    comparison = Comparison(_names(runs))
    found = [read_results(run) for run in runs]
    for column, (run, results) in enumerate(zip(comparison.runs, found, strict=True)):
        for name, value in _measurements(results):
            comparison.rows.setdefault(name, [""] * len(runs))[column] = value
        failed = [check for check in (results.get("sanity") or {}).get("checks", []) if not check["passed"]]
        if failed:
            why = "; ".join(f"not so: {check['name']} ({check['found']})" for check in failed)
            comparison.notes.append(f"{MARK} {run} may hide its gradients, and then attacks prove nothing: {why}")
    comparison.notes += _differences(comparison.runs, found)
    return comparison


def _differences(names: list[str], found: list[dict[str, Any]]) -> Iterator[str]:
    """What is compared though it is not the same."""
    data = [_data(results) for results in found]
    labels = {str(results["metrics"]["clean"].get("labels")) for results, what in zip(found, data, strict=True) if what}
    if len({what for what in data if what}) > 1 or len(labels) > 1:
        yield f"not the same data: {_by_run(names, data)}"
    versions = dict.fromkeys(version for results in found for version in results["metrics"])
    for version in versions:
        settings = [_settings(results, version) for results in found]
        for key in dict.fromkeys(key for each in settings for key in each):
            values = [each and each.get(key, "none") for each in settings]
            if len({value for value in values if value}) > 1:
                yield f"not the same {version}: {key} is {_by_run(names, values)}"


def _data(results: dict[str, Any]) -> str:
    """What the clean images are, as far as it is known."""
    if "data" not in results or "clean" not in results["metrics"]:
        return ""
    split = "test" if results.get("command") == "test" else "val"
    labels = results["metrics"]["clean"].get("labels")
    return f"{results['data']} ({split}" + (f", {sum(labels.values())} labels)" if labels else ")")


def _settings(results: dict[str, Any], version: str) -> dict[str, str]:
    """The settings of an attack, or the attacks of a group, by dotted name; empty where it was not measured."""
    known = results.get("attacks", {}) | {name: {"attacks": each} for name, each in results.get("worst", {}).items()}
    return dict(_flat(known[version])) if version in known and version in results["metrics"] else {}


def _flat(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield from _flat(value, f"{key}.{name}" if key else name)
    else:
        yield key or "it", str(settings)


def _names(runs: list[Path]) -> list[str]:
    """The names of the runs' folders; where these are the same, with the folders they are in."""
    names = [run.name for run in runs]
    return [str(Path(*run.parts[-2:])) if names.count(run.name) > 1 else run.name for run in runs]


def _by_run(names: list[str], values: Iterable[Any]) -> str:
    return ", ".join(f"{shorten(value, 60)} in {name}" for name, value in zip(names, values, strict=True) if value)


def _measurements(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "samples" in results["metrics"].get("clean", {}):
        yield "images", f"{results['metrics']['clean']['samples']:.0f}"
    trusted = (results.get("sanity") or {}).get("passed", True)
    for version, values in results["metrics"].items():
        mark = "" if trusted or version == "clean" else MARK
        for name, key in (("accuracy", "accuracy"), ("mIoU", "miou")):
            if values.get(key) is not None:
                yield f"{version} {name}", f"{100 * values[key]:.1f} %{mark}"
    for attack, cost in results.get("cost", {}).items():
        yield f"{attack} forwards + backwards", f"{cost['forwards']:.0f} + {cost['backwards']:.0f}"
    for task, scores in results.get("synthesis", {}).items():
        for name, value in scores.items():
            yield f"{task} {name.replace('_', ' ')}", f"{value:.4f}"
