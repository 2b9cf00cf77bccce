"""The door: `python cli.py fit|validate|test|predict --config NAME.yaml`, and `python cli.py report RUN RUN ...`."""

import sys


def main(args: list[str] | None = None) -> None:
    """Run a command; a user's mistake ends it with one line and exit status 2.

    Args:
        args: the command line, without the program's name; by default the process's own.
    """
    arguments = sys.argv[1:] if args is None else args
    if arguments[:1] == ["report"]:  # reading results needs no torch
        from reports.comparison import main as report
        from reports.files import ReportError as Mistake

        command = report
    else:
        from training_cli import UserError as Mistake  # type: ignore[assignment]
        from training_cli import run as command  # type: ignore[assignment]
    try:
        command(args if arguments[:1] != ["report"] else arguments[1:])
    except Mistake as mistake:
        sys.stderr.write(f"error: {mistake}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
