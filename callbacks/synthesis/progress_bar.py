"""How far a painting has come, in the progress bar of a run."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import RichProgressBar


@contextmanager
def painting_bar(trainer: Trainer, name: str, steps: int) -> Iterator[Callable[[int], None]]:
    """Gives what is to be called with the number of steps that are done; a run without a bar shows none.

    Args:
        trainer: whose progress bar it joins, and leaves at the end.
        name: of what is painted.
        steps: how many there will be; 0 where that is not known.
    """
    bar: Any = trainer.progress_bar_callback
    if isinstance(bar, RichProgressBar) and bar.is_enabled and bar.progress is not None:
        lines: Any = bar.progress
        number = lines.add_task(name, total=steps or math.inf)
        try:
            yield lambda done: lines.update(number, advance=done)
        finally:
            lines.remove_task(number)
    else:
        yield lambda done: None
