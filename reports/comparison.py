"""Runs side by side: a table in the terminal and a page with their galleries."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from reports.files import ReportError, read_results
from reports.gallery import write_page


def table(runs: list[Path]) -> Table:
    """Metrics of each run, percent for accuracy and mIoU, and what the synthesis callbacks measured."""
    results = {run: read_results(run) for run in runs}
    versions = list(dict.fromkeys(version for result in results.values() for version in result["metrics"]))
    scores = list(dict.fromkeys(_scores(result) for result in results.values()).keys())
    names = list(dict.fromkeys(name for row in scores for name, _ in row))
    shown = Table(*["run", *(f"{version} {metric}" for version in versions for metric in ("accuracy", "mIoU")), *names])
    for run, result in results.items():
        values = [result["metrics"].get(version, {}).get(key) for version in versions for key in ("accuracy", "miou")]
        own = dict(_scores(result))
        shown.add_row(
            run.name,
            *("" if value is None else f"{100 * value:.1f} %" for value in values),
            *(f"{own[name]:.4f}" if name in own else "" for name in names),
        )
    return shown


def _scores(result: dict) -> tuple[tuple[str, float], ...]:
    return tuple(
        (f"{task} {name.replace('_', ' ')}", value)
        for task, values in result.get("synthesis", {}).items()
        for name, value in values.items()
    )


def main(args: list[str]) -> None:
    """`report RUN RUN ...`: print the table, write the page, say where it is."""
    parser = argparse.ArgumentParser("cli.py report", description=main.__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, such as runs/quickstart")
    parser.add_argument("--output", type=Path, help="the page to write; by default report.html beside the first run")
    options = parser.parse_args(args)
    page = options.output or options.runs[0].parent / "report.html"
    Console(width=None).print(table(options.runs))
    write_page(options.runs, page)
    print(f"Gallery: {page.resolve()}")


__all__ = ["ReportError", "main", "table"]
