"""`report`: runs side by side, as a table and as a page."""

import argparse
import os
from pathlib import Path

from reports.data_sets import by_data, places
from reports.files import ReportError
from reports.gallery import is_ours, write_page
from reports.measurements import compare
from reports.origin import origin
from reports.results import read_runs
from reports.seeds import by_seed
from reports.table import FORMATS, Comparison, say


def main(args: list[str]) -> None:
    """`report RUN RUN ...`: print the table, write the page with curves and galleries, say where it is.

    Raises:
        ReportError: if a folder is no run, or the page would replace a file that is none of ours, or cannot be written.
    """
    parser = argparse.ArgumentParser("cli.py report", description="Puts runs side by side, as a table and as a page.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, such as runs/quickstart")
    parser.add_argument("--format", choices=FORMATS, default="terminal", help="how the table is written")
    parser.add_argument(
        "--seeds", action="store_true", help="runs that differ in the seed only are one: their mean and deviation"
    )
    parser.add_argument(
        "--columns",
        choices=("runs", "data"),
        default="runs",
        help="what a column is: a run, or a data set (then a row is a measurement of one network)",
    )
    parser.add_argument("--output", type=Path, help="the page to write; by default report.html beside the first run")
    options = parser.parse_args(args)
    runs = list(dict.fromkeys(map(_resolved, options.runs)))  # each once, also by a link
    runs = [run for run in runs if not _is_ours(run)] or runs  # `runs/*` has the page of the last time
    page = _page(options.output or runs[0].parent / "report.html")
    table = _table(runs, options.seeds, options.columns == "data")
    say(table.text(options.format))
    try:
        write_page(runs, page, table)
    except OSError as error:
        raise ReportError(f"{page}: cannot be written ({error.strerror}); name another page with --output") from None
    if options.format == "terminal":
        say(f"Gallery: {page}")


def _table(runs: list[Path], seeds: bool, data: bool) -> Comparison:
    """Of runs; or of means over seeds, and with data sets as columns."""
    found = read_runs(runs)
    if not (seeds or data):
        return compare(found)
    pairs = zip(runs, found.items(), strict=True)
    origins = {name: origin(run, results) for run, (name, results) in pairs if results}
    notes: list[str] = []
    if seeds:
        found, origins, notes = by_seed(found, origins)
    of = places(found, origins) if data else None
    table = compare(found, {run: on for run, (_, on) in of.items()} if of else None)
    table.notes += notes
    return by_data(table, of) if of else table


def _page(path: Path) -> Path:
    """Where the page goes; raises ReportError where something else is."""
    page = _resolved(path)
    if page.suffix.lower() not in (".html", ".htm"):
        raise ReportError(f"--output {path}: the page is an HTML file; give it a name that ends in .html")
    if os.path.lexists(page) and not _is_ours(page):
        raise ReportError(f"{page}: is no page of report's, and is not replaced; name another with --output")
    return page


def _is_ours(path: Path) -> bool:
    try:
        return is_ours(path)
    except OSError:  # it cannot be read
        return False


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a name that cannot be
        raise ReportError(f"{path}: no such path ({error})") from None
