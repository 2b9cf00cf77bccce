"""The highest memory of a process above that at rest."""

from collections.abc import Callable
from pathlib import Path


def highest_above_rest(warm_up: Callable[[], object], work: Callable[[], object]) -> float:
    """What `work` takes at its height, in MiB, above what the process has after `warm_up`; Linux only."""
    warm_up()
    rest = _kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the highest so far
    work()
    return (_kilobytes("VmHWM") - rest) / 1024


def _kilobytes(key: str) -> int:
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith(key))
