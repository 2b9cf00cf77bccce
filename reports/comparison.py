"""`report`: runs side by side, as a table and as a page."""

import argparse
from pathlib import Path

from reports.gallery import write_page
from reports.measurements import FORMATS, compare


def main(args: list[str]) -> None:
    """`report RUN RUN ...`: print the table, write the page with curves and galleries, say where it is."""
    parser = argparse.ArgumentParser("cli.py report", description=main.__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, such as runs/quickstart")
    parser.add_argument("--format", choices=FORMATS, default="terminal", help="how the table is written")
    parser.add_argument("--output", type=Path, help="the page to write; by default report.html beside the first run")
    options = parser.parse_args(args)
    page = options.output or options.runs[0].resolve().parent / "report.html"
    print(compare([run.resolve() for run in options.runs]).text(options.format))
    write_page(options.runs, page)
    if options.format == "terminal":
        print(f"Gallery: {page.resolve()}")
