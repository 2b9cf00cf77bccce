"""The end of a job, told by a signal or its time limit: noted when it comes, heeded where nothing is lost.

A handler only notes what came. Training ends after an optimizer step that all processes agree on (`Checkpoints`). In an
evaluation the state before it is kept already: there each process leaves by itself, at its next look at the network.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any

from lightning.pytorch.callbacks import Timer
from torch import nn

HEEDED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""Of a scheduler that takes the machine away, of one that warns of the time limit, of a person."""


class Stopped(SystemExit):
    """A run ends because its job does, and is to go on later. The exit status is 128 + the signal; 0 at `max_time`."""

    def __init__(self, signum: int | None) -> None:
        super().__init__(128 + signum if signum else 0)
        self.signum = signum


class Ending:
    """What has been told of the end of this process's job."""

    TIME_IS_UP = 1000
    """Stands among the numbers of signals for `max_time`."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self.begin()

    def begin(self) -> None:
        """Forget what was told before this command."""
        self.signum: int | None = None
        """The last signal that came."""
        self.elsewhere = 0
        """What another process was told."""
        self._begun = time.monotonic()
        self._seconds: float | None = None

    def limit(self, max_time: str | timedelta | dict[str, int] | None) -> None:
        """Have the job end after so long, since the command began; as Lightning's `max_time`."""
        self._seconds = None if max_time is None else Timer(max_time).time_remaining()

    def listen(self) -> None:
        """Note signals from now on. Only the main thread can; elsewhere nothing is changed."""
        if threading.current_thread() is not threading.main_thread() or self._before:
            return
        self.signum, self.elsewhere = None, 0  # what ended a run before this one
        for number in HEEDED:
            self._before[number] = signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)

    def stop_listening(self) -> None:
        """Have signals do what they did before; but a warning of the time limit does nothing any more."""
        for number, handler in self._before.items():
            ends = number == signal.SIGUSR1 and handler == signal.SIG_DFL
            follows = number == signal.SIGTERM and self.signum == signal.SIGUSR1  # as above, while the run is closed
            signal.signal(number, signal.SIG_IGN if ends or follows else handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.signum == signal.SIGINT:  # once more
                raise KeyboardInterrupt
            with suppress(OSError):
                os.write(2, b"\nstopping after this step; interrupt once more to stop at once\n")
        if self.signum != signal.SIGUSR1:  # once the first process leaves, srun sends the others SIGTERM
            self.signum = number

    @property
    def told(self) -> int:
        """A number above 0 if the job is to end."""
        if self.signum is None and self._seconds is not None and time.monotonic() - self._begun > self._seconds:
            return self.TIME_IS_UP
        return self.signum or self.elsewhere

    @property
    def stopped(self) -> Stopped:
        """What ends the run, once it is told."""
        return Stopped(None if self.told == self.TIME_IS_UP else self.told)

    def heed(self) -> None:
        """Raises Stopped if the job is to end."""
        if self.told:
            raise self.stopped


ending = Ending()


@contextmanager
def interruptible(network: nn.Module) -> Iterator[None]:
    """Inside, the end of the job ends the run at the network's next look at images: attacks and paintings are long."""
    handle = network.register_forward_pre_hook(lambda *_: ending.heed())
    try:
        yield
    finally:
        handle.remove()
