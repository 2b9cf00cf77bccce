"""How anything may end, whatever it was given: done, or told in one line."""

import faulthandler
import json
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

LIMIT = 120
"""Seconds after which something hangs: the slowest case takes a few, on a busy machine some more."""

MARK = Path("EXECUTED")
"""Written by planted code, in the current folder."""

PLANTED = f"""
from pathlib import Path

def mark(*args, **kwargs) -> int:
    Path({str(MARK)!r}).touch()
    return 0
"""
"""A module whose function is of no kind that a config asks for."""


class HangError(BaseException):
    """Nothing may catch it but the test."""


@contextmanager
def bounded(megabytes: int = 1024) -> Iterator[None]:
    """Ends what hangs; afterwards no planted code was run, and the memory taken was bounded."""

    def hang(*_: Any) -> None:
        raise HangError

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handler = signal.signal(signal.SIGALRM, hang)
    signal.alarm(LIMIT)
    faulthandler.dump_traceback_later(3 * LIMIT, exit=True, file=sys.__stderr__)  # of what no signal reaches
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        faulthandler.cancel_dump_traceback_later()
    assert not MARK.exists(), "planted code was run"
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert taken < megabytes, f"{taken:.0f} MiB were taken"


def one_line(message: str) -> str:
    """What an error says, after a look that it is one line of printable text, and not endless."""
    assert message.strip() and message.isprintable(), repr(message)
    assert len(message) < 2000, f"{len(message)} characters: {message[:200]}"
    return message


def command(capsys: Any, *args: str) -> str:
    """Run a command line; returns the line of its error, or nothing if it was done."""
    from cli import main

    capsys.readouterr()
    before = contents(Path("runs"))
    try:
        with bounded():
            main(list(args))
        code: Any = 0
    except SystemExit as ended:
        code = ended.code or 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code in (0, 2), code
    assert len(told) == (code == 2), told
    nothing_half_written(Path("runs"), before)
    return one_line(told[0]) if told else ""


def contents(folder: Path) -> dict[Path, bytes]:
    """The JSON files below a folder; a pipe is none."""
    return {path: path.read_bytes() for path in folder.rglob("*.json") if path.is_file()}


def nothing_half_written(folder: Path, before: dict[Path, bytes]) -> None:
    """No file is left under a name of passage, and what JSON was written can be read."""
    for path in folder.rglob("*"):
        assert not path.name.endswith(".part") and not path.name.startswith(".results"), path
    for path, content in contents(folder).items():
        if before.get(path) != content:
            json.loads(content)


def sane(results: dict[str, Any], samples: int | None = None) -> None:
    """What was measured are shares, and of all the samples."""
    assert results["metrics"], results
    for version, values in results["metrics"].items():
        assert samples is None or values["samples"] == samples, (version, values)
        for name in ("accuracy", "miou"):
            assert values.get(name) is None or 0 <= values[name] <= 1, (version, values)
        assert isfinite(values["loss"]), (version, values)
