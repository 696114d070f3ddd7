"""What someone sees while a check is at work: on stderr, so that stdout stays a result."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from repro_gate.core.cells import Cell
from repro_gate.core.policies import LogprobCell
from repro_gate.ports import Progress

_LINES = 10
"""How many lines a log gets in all."""


@contextmanager
def shown_progress(console: Console, *, quiet: bool, noun: str = "runs") -> Generator[Progress]:
    """Yield a bar on a terminal, a few plain lines elsewhere, and nothing when `quiet`."""
    if quiet:
        yield _Tally()
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=console, transient=True) as bar:
            yield _Bar(bar)
    else:
        yield _Lines(console, noun)


class _Tally:
    """Counts, and says nothing."""

    def __init__(self) -> None:
        self._cells = 0
        self._begun: set[str] = set()
        self._runs = 0
        self._done = 0
        self._tokens = 0
        self._since = time.monotonic()

    def started(self, *, cells: int, runs: int) -> None:
        """Tell how much there is to do; it may become more."""
        self._cells, self._runs = cells, runs
        self._show()

    def ran(self, cell: Cell | LogprobCell, *, tokens: int) -> None:
        """Tell that one run of a cell is finished."""
        self._begun.add(cell.id)
        self._done += 1
        self._tokens += tokens
        self._show()

    def skipped(self, cell: Cell | LogprobCell, *, runs: int) -> None:
        """Tell that the remaining runs of a cell will not happen."""
        self._begun.add(cell.id)
        self._done += runs
        self._show()

    def _pace(self) -> str:
        elapsed = max(time.monotonic() - self._since, 1e-9)
        cells = f"{len(self._begun)}/{self._cells} cells"
        # A draw of log-probabilities generates nothing.
        return f"{cells}, {self._tokens / elapsed:.0f} tokens/s" if self._tokens else cells

    @property
    def _total(self) -> int:
        # What replaces an outlier comes on top of what was planned.
        return max(self._runs, self._done)

    def _seconds_left(self) -> float:
        elapsed = time.monotonic() - self._since
        return elapsed / max(self._done, 1) * (self._total - self._done)

    def _show(self) -> None:
        """Say nothing."""


class _Bar(_Tally):
    """A bar that rich draws a few times a second."""

    def __init__(self, bar: RichProgress) -> None:
        super().__init__()
        self._bar = bar
        self._task: TaskID | None = None

    def _show(self) -> None:
        if self._task is None:
            self._task = self._bar.add_task("checking", total=self._runs, pace="")
        self._bar.update(self._task, total=self._total, completed=self._done, pace=self._pace())


class _Lines(_Tally):
    """A line for the first run, and for every tenth of the work."""

    def __init__(self, console: Console, noun: str) -> None:
        super().__init__()
        self._console = console
        self._noun = noun
        self._lines = 0
        self._has_begun = False

    def _show(self) -> None:
        is_first = self._done > 0 and not self._has_begun
        before, self._lines = self._lines, self._done * _LINES // max(1, self._runs)
        if self._lines <= before and not is_first:
            return
        self._has_begun = True
        left = f"{self._seconds_left():.0f} s left"
        line = f"{self._done}/{self._total} {self._noun}, {self._pace()}, {left}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
