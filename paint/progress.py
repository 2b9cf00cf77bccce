"""How far `paint` is, on a terminal; elsewhere only what was skipped is said."""

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bars:
    """Two bars: pictures, and the steps of those at hand.

    Args:
        pictures: how many there are to paint, by all networks together.
    """

    def __init__(self, pictures: int) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self.bars = Progress(*columns, console=console, disable=not sys.stderr.isatty())
        self.pictures = self.bars.add_task("pictures", total=pictures)
        self.steps = self.bars.add_task("steps", total=None)

    def __enter__(self) -> "Bars":
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.bars.stop()

    def begin(self, steps: int) -> None:
        """A batch of so many steps begins; of 0, their number is not known."""
        self.bars.remove_task(self.steps)
        self.steps = self.bars.add_task("steps", total=steps or None)

    def tick(self, steps: int) -> None:
        """So many steps are done."""
        self.bars.advance(self.steps, steps)

    def done(self, pictures: int = 1) -> None:
        """So many pictures need no more work."""
        self.bars.advance(self.pictures, pictures)

    def tell(self, line: str) -> None:
        """Say something above the bars."""
        line = "".join(each if each.isprintable() else "?" for each in line)
        self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
