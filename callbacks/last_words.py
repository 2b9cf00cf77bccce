"""Why a process of several ends: told to the others by a file in the run's folder.

The others only notice that a connection is closed. Nobody waits for an answer here, so nothing can hang.
"""

import ctypes
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch

from callbacks.interruption import Stopped, ending

MARK = ".ended"

LEADER = "SADDLE_LEADER"
"""How the first process tells those that it starts who it is."""

PR_SET_PDEATHSIG = 1


class LostProcessError(RuntimeError):
    """Another process of this run has ended; the message says why, as far as is known."""


@dataclass
class Words:
    """Which process has ended, and what told it to, a signal or `ending.TIME_IS_UP`, or with which error."""

    process: int
    signum: int | None = None
    error: str = ""


def forget(run: Path) -> None:
    """Before a run starts, or goes on."""
    with suppress(OSError):
        (run / MARK).unlink(missing_ok=True)


@contextmanager
def exchanged(run: Path, process: int, processes: int) -> Iterator[None]:
    """Leave word of what ends this process; where that is another one's end, go by what that one has left.

    Raises:
        Stopped: also if another process was told to end.
        LostProcessError: if another process has ended.
    """
    if processes > 1:
        _begin(process)
    try:
        yield
    except Stopped as stopped:
        if processes > 1:
            _leave(run, Words(process, stopped.signum or ending.TIME_IS_UP))
        raise
    except Exception as error:
        lost = _is_lost_contact(error)
        if ending.told and (lost or "DataLoader worker" in str(error)):  # a scheduler tells workers, too
            raise ending.stopped from error
        if not lost:
            if processes > 1:
                _leave(run, Words(process, error=" ".join(f"{type(error).__name__}: {error}".split())))
            raise
        if signum := was_told(run, error):
            raise Stopped(None if signum == ending.TIME_IS_UP else signum) from error
        words = _read(run)
        raise LostProcessError(
            f"process {words.process} ended this run: {words.error}" if words else "another process of this run is gone"
        ) from error
    finally:
        os.environ.pop(LEADER, None)


def was_told(run: Path, error: BaseException) -> int | None:
    """What told another process to end, a signal or `ending.TIME_IS_UP`, if its end is what the error is about."""
    words = _read(run) if _is_lost_contact(error) else None
    return words.signum if words else None


def _is_lost_contact(error: BaseException) -> bool:
    return isinstance(error, torch.distributed.DistError) or (isinstance(error, RuntimeError) and "gloo/" in str(error))


def _leave(run: Path, words: Words) -> None:
    """The first is the reason; the others follow from it."""
    with suppress(OSError), (run / MARK).open("x") as file:
        file.write(json.dumps(asdict(words)))


def _read(run: Path) -> Words | None:
    with suppress(OSError, ValueError, TypeError):
        return Words(**json.loads((run / MARK).read_text()))
    return None


def _begin(process: int) -> None:
    if process == 0:
        os.environ[LEADER] = str(os.getpid())
    elif LEADER in os.environ:
        _end_with(int(os.environ[LEADER]))
    _make_forks_safe()


def _end_with(leader: int) -> None:
    """Have the system end this process with the one that started it, which else it may await for half an hour."""
    with suppress(OSError, AttributeError):  # Linux has this
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != leader:  # it was too late
        os._exit(1)


@cache
def _make_forks_safe() -> None:
    """Have loader workers forked only after the threads of the last collective have let go of the interpreter.

    Once a worker was seen to hang for ever in its fork, in Python 3.11, on a lock that another thread had held then.
    """
    os.register_at_fork(before=lambda: time.sleep(0.02))
