"""Runs side by side: a table in the terminal and a page with their galleries."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from reports.files import read_results
from reports.gallery import write_page


def table(runs: list[Path]) -> Table:
    """A column per run: accuracy and mIoU in percent of every version of the images, and the synthesis scores."""
    results = [read_results(run) for run in runs]
    rows: dict[str, dict[int, str]] = {}
    for column, result in enumerate(results):
        for version, values in result["metrics"].items():
            for name, key in (("accuracy", "accuracy"), ("mIoU", "miou")):
                if key in values:
                    rows.setdefault(f"{version} {name}", {})[column] = f"{100 * values[key]:.1f} %"
        for task, scores in result.get("synthesis", {}).items():
            for name, value in scores.items():
                rows.setdefault(f"{task} {name.replace('_', ' ')}", {})[column] = f"{value:.4f}"
    shown = Table("", *(run.name for run in runs))
    for name, cells in rows.items():
        shown.add_row(name, *(cells.get(column, "") for column in range(len(runs))))
    return shown


def main(args: list[str]) -> None:
    """`report RUN RUN ...`: print the table, write the page, say where it is."""
    parser = argparse.ArgumentParser("cli.py report", description=main.__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, such as runs/quickstart")
    parser.add_argument("--output", type=Path, help="the page to write; by default report.html beside the first run")
    options = parser.parse_args(args)
    page = options.output or options.runs[0].resolve().parent / "report.html"
    shown = table([run.resolve() for run in options.runs])
    # Nothing is cut off, in a pipe or a narrow terminal either.
    needed = Console(width=10_000).measure(shown).maximum
    Console(width=max(Console().width, needed)).print(shown)
    write_page(options.runs, page)
    print(f"Gallery: {page.resolve()}")
