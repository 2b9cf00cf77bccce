"""The door: `cli.py fit|validate|test|predict --config NAME.yaml`, and `report` and `convert`."""

import os
import sys


def main(args: list[str] | None = None) -> None:
    """Run a command; a user's mistake ends it with one line and exit status 2.

    Args:
        args: the command line, without the program's name; by default the process's own.
    """
    arguments = sys.argv[1:] if args is None else args
    try:
        if arguments[:1] == ["report"]:  # reading results needs no torch
            from reports.comparison import main as report

            report(arguments[1:])
        elif arguments[:1] == ["convert"]:
            from lightning_modules.weights import main as convert

            convert(arguments[1:])
        else:
            from training_cli import run

            run(args)
    except Exception as error:
        if not getattr(error, "one_line", False) or os.environ.get("SADDLE_DEBUG"):
            raise
        line = "".join(filter(str.isprintable, str(error)))  # it may quote a file
        sys.stderr.write(f"error: {line}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
