"""How far `paint` is, on a terminal; elsewhere only what was skipped is said."""

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bars:
    """Two bars: pictures, and the steps of those at hand.

    Args:
        pictures: how many there are to paint, by all networks together.
        steps: how many of a painting; None where it has none.
    """

    def __init__(self, pictures: int, steps: int | None) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self.bars = Progress(*columns, console=console, disable=not sys.stderr.isatty())
        self.pictures = self.bars.add_task("pictures", total=pictures)
        self.steps = None if steps is None else self.bars.add_task("steps", total=steps)

    def __enter__(self) -> "Bars":
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.bars.stop()

    def tick(self, steps: int) -> None:
        """So many steps are done; the next painting begins the bar anew."""
        if self.steps is not None:
            bar = self.bars.tasks[self.steps]
            if bar.finished:
                self.bars.reset(self.steps)
            self.bars.advance(self.steps, steps)

    def done(self, pictures: int = 1) -> None:
        """So many pictures need no more work."""
        self.bars.advance(self.pictures, pictures)

    def tell(self, line: str) -> None:
        """Say something above the bars."""
        line = "".join(each if each.isprintable() else "?" for each in line)
        self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
