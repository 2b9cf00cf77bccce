import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from callbacks.interruption import Stopped, ending
from callbacks.last_words import LostProcessError, exchanged, forget

CLOSED = "[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:41872"


def end(run, process, error, processes=2):
    with pytest.raises(BaseException) as found, exchanged(run, process, processes):
        raise error
    return found.value


def test_who_loses_another_says_why_that_has_ended(tmp_path):
    first = ValueError("a label of 21\nfor 21 classes")
    assert end(tmp_path, 1, first) is first
    end(tmp_path, 2, RuntimeError("out of memory"))
    lost = end(tmp_path, 0, RuntimeError(CLOSED))
    assert isinstance(lost, LostProcessError)
    assert str(lost) == "process 1 ended this run: ValueError: a label of 21 for 21 classes"
    forget(tmp_path)
    lost = end(tmp_path, 0, torch.distributed.DistBackendError("NCCL"))
    assert str(lost) == "another process of this run is gone"


def test_what_one_is_told_the_other_heeds(tmp_path):
    end(tmp_path, 1, Stopped(signal.SIGUSR1))
    stopped = end(tmp_path, 0, RuntimeError(CLOSED))
    assert isinstance(stopped, Stopped) and stopped.signum == signal.SIGUSR1


@pytest.mark.parametrize("told", [signal.SIGTERM, ending.TIME_IS_UP])
def test_who_is_told_does_not_wonder_why_others_are_gone(tmp_path, told):
    ending.signum = told
    for error in (CLOSED, "DataLoader worker (pid 7) is killed by signal: Terminated."):
        stopped = end(tmp_path, 0, RuntimeError(error))
        assert isinstance(stopped, Stopped) and stopped.signum == (told if told == signal.SIGTERM else None)
    assert isinstance(end(tmp_path, 0, ValueError("a bug")), ValueError)


def test_a_process_alone_leaves_nothing(tmp_path):
    end(tmp_path, 0, Stopped(signal.SIGTERM), processes=1)
    end(tmp_path, 0, ValueError("a bug"), processes=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux ends it; elsewhere it waits for its connection")
def test_a_process_that_waits_ends_with_the_one_that_started_it(tmp_path):
    first = forked(tmp_path, 0, lambda: forked(tmp_path, 1, lambda: (tmp_path / "waits").write_text(str(os.getpid()))))
    until(lambda: (tmp_path / "waits").exists() and (tmp_path / "waits").read_text())
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    until(lambda: state(int((tmp_path / "waits").read_text())) in (None, "Z"))


def forked(run, rank, does):
    """A process of a run that does something and then waits."""
    if pid := os.fork():
        return pid
    try:
        with exchanged(run, rank, 2):
            does()
            time.sleep(60)
    finally:
        os._exit(1)


def until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
