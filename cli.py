"""The door: `cli.py fit|validate|test|predict --config NAME.yaml`, `paint TASK`, `report`, `status` and others."""

import atexit
import difflib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COMMANDS = ("fit", "validate", "test", "predict", "paint", "report", "status", "dashboard", "convert")

MOST = 900
"""Characters at each end of a line that is longer than two of these."""


def main(args: list[str] | None = None) -> None:
    """Run a command; a user's mistake ends it with one line and exit status 2.

    Args:
        args: the command line, without the program's name; by default the process's own.
    """
    arguments = sys.argv[1:] if args is None else args
    try:
        try:
            _run(arguments, args)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has stopped, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if not getattr(error, "one_line", False) or os.environ.get("SADDLE_DEBUG"):
            raise
        _end(str(error))  # it may quote a file


def _run(arguments: list[str], args: list[str] | None) -> None:
    command = arguments[0] if arguments else "no command"
    if command == "report":  # reading results needs no torch
        from reports.comparison import main as report

        report(arguments[1:])
    elif command == "status":
        from reports.status import main as status

        status(arguments[1:])
    elif command == "dashboard":
        from dashboard_cli import main as dashboard

        dashboard(arguments[1:])
    elif command == "paint":
        with _importing():
            from painting_cli import main as paint

        paint(arguments[1:])
    elif command == "convert":
        with _importing():
            from lightning_modules.weights import main as convert

        convert(arguments[1:])
    elif command in ("-h", "--help"):
        from command_line.overview import print_help

        print_help()
    elif command in COMMANDS or command.startswith("-"):
        # A scheduler's warning of the time limit would kill what cannot heed it yet.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        with _importing():
            from training_cli import run

        run(args)
    else:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        _end(f"{command}: " + (f"did you mean {close[0]}?" if close else f"the commands are {', '.join(COMMANDS)}"))


@contextmanager
def _importing() -> Iterator[None]:
    """What is imported stays: to look for garbage in it, meanwhile and ever after, would take a second."""
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if len(sys.modules) > known:
            gc.freeze()
            atexit.register(gc.unfreeze)  # or Triton's libraries tell of each of their objects that it has leaked


def _end(line: str) -> None:
    """End with one line and exit status 2; of a value that is as long as a book, its beginning and its end."""
    line = "".join(filter(str.isprintable, line))
    if len(line) > 2 * MOST:
        line = f"{line[:MOST]} [...] {line[-MOST:]}"
    sys.stderr.write(f"error: {line}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
