"""Progress of a measurement: one updated line on a terminal, and an occasional line in a log."""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.outcome import outcome_of_verdict
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.verdicts import Drift, Finding, Unrecorded
from repro_gate.ports import Progress
from repro_gate.reports.findings.wording import describe_finding
from repro_gate.reports.terminal import style
from repro_gate.reports.text.escape import log_line

MAX_FINDINGS: Final = 20
"""How many findings are shown during a check; the report has all of them."""
_LINES: Final = 10
"""The number of lines in a log of work that takes long enough for so many."""
_MIN_PAUSE_S: Final = 10
"""Between two lines in a log."""
_MAX_PAUSE_S: Final = 60
"""After which a run brings a line, however little was done since the last one."""
_MIN_ID: Final = 12
"""An id is shown if it keeps this many characters."""
_MAX_BAR: Final = 20
_UNLIMITED: Final = 1 << 16
_SECONDS_SHOWN: Final = 100
_MINUTE: Final = 60
_HOUR: Final = 3600

Clock = Callable[[], float]


@contextmanager
def shown_progress(
    console: Console,
    *,
    quiet: bool,
    noun: str = "runs",
    shows_drift: bool = True,
    clock: Clock = time.monotonic,
) -> Generator[Progress]:
    """Yield a progress bar on a terminal, a few plain lines elsewhere, or nothing if `quiet`.

    Findings are shown as they come, unless `quiet`; drift only with `shows_drift`.
    """
    work = _Work(clock, noun)
    if quiet:
        yield _Display(work, shows_drift=False)
    elif console.is_terminal:
        columns = (BarColumn(min(_MAX_BAR, console.width // 8)), _WorkColumn(work, console))
        with RichProgress(*columns, console=console, transient=True) as bar:
            yield _Bar(work, bar, shows_drift=shows_drift)
    else:
        yield _Log(work, console, shows_drift=shows_drift)


@dataclass(slots=True, kw_only=True)
class _CellWork:
    limit: int
    """The most tokens that one run may give; 1 where that is unknown."""
    left: int = 0
    """How many runs are to be made."""
    tokens: int | None = None
    """Of the last run; None before the first."""


class _Work:
    """Counts what is done and what is left of a measurement."""

    def __init__(self, clock: Clock, noun: str) -> None:
        self._clock = clock
        self._noun = noun
        self._cells: dict[str, _CellWork] = {}
        self._seen = 0
        """How many cells have had a run."""
        self._running: Counter[str] = Counter()
        self._since = clock()
        self._at = 0.0
        """The seconds from the first run to the end of the last one."""
        self._tokens = 0
        self._seen_tokens = 0
        """The tokens of one run of each seen cell."""
        self._seen_limits = 0
        self._left_tokens = 0
        """What the runs left of the seen cells will give, as each gives what its last one gave."""
        self._left_limits = 0
        """What the runs of the cells not seen may give."""
        self.done = 0
        self.left = 0
        self._shown = "loading"
        """The id of a running cell."""
        self._others = ""
        """How many other runs are under way."""

    @property
    def total(self) -> int:
        """The number of runs, without those that are left out."""
        return self.done + self.left

    @property
    def elapsed(self) -> float:
        """The seconds since the first run began."""
        return self._clock() - self._since

    def add(self, cell: Cell | LogprobCell, runs: int) -> None:
        """Add runs of a cell."""
        self._change(self._work_of(cell), runs)

    def begin(self, cell: Cell | LogprobCell) -> None:
        """Note that a run of a cell begins."""
        if not self._running and not self.done:
            # Loading the first model is over, and is no measure of the time left.
            self._since = self._clock()
        self._running[cell.id] += 1
        self._set_running()

    def finish(self, cell: Cell | LogprobCell, tokens: int) -> None:
        """Count a run."""
        work = self._work_of(cell)
        self._at = self.elapsed
        self._change(work, -min(1, work.left))
        self.done += 1
        self._end_run(cell.id)
        if work.tokens is None:
            self._seen += 1
            self._seen_tokens += tokens
            self._seen_limits += work.limit
            self._left_limits -= work.left * work.limit
        else:
            self._seen_tokens += tokens - work.tokens
            self._left_tokens -= work.left * work.tokens
        work.tokens = tokens
        self._left_tokens += work.left * tokens
        # Last: the bar of a terminal is drawn by another thread, which divides by the others.
        self._tokens += tokens

    def drop(self, cell: Cell | LogprobCell, runs: int) -> None:
        """Leave out runs of a cell; without any run, the cell itself."""
        work = self._work_of(cell)
        self._change(work, -min(runs, work.left))
        if work.tokens is None and not work.left:
            del self._cells[cell.id]
        self._running.pop(cell.id, None)
        self._set_running()

    def seconds_left(self) -> float | None:
        """Return an estimate by the tokens of the runs that are left, or None without a run."""
        if not self.done:
            return None
        if self._tokens:
            rate = self._seen_tokens / self._seen_limits
            share = (self._left_tokens + self._left_limits * rate) / self._tokens
        else:
            share = self.left / self.done
        return max(0.0, self._at * share - (self.elapsed - self._at))

    def line(self, width: int) -> str:
        """Return what is done and left, with as much detail as fits into a width."""
        runs = f"{self.done}/{self.total} {self._noun}"
        cells = f"{self._seen}/{len(self._cells)} cells"
        pace = f"{self._pace():.0f} tokens/s" if self._tokens else ""
        seconds = self.seconds_left()
        left = "" if seconds is None else f"{_duration(seconds)} left"
        shorter = ([runs, pace, left], [runs, left], [runs])
        lines = (", ".join(filter(None, parts)) for parts in ([runs, cells, pace, left], *shorter))
        line = next((each for each in lines if len(each) <= width), runs)
        room = width - len(line) - len("; ") - len(self._others)
        if not self._shown or room < min(_MIN_ID, len(self._shown)):
            return line
        # The start of an id is the model, so the end is worth more.
        name = (
            self._shown
            if len(self._shown) <= room
            else f"\N{HORIZONTAL ELLIPSIS}{self._shown[1 - room :]}"
        )
        return f"{line}; {name}{self._others}"

    def _pace(self) -> float:
        return self._tokens / max(self._at, 1e-9)

    def _work_of(self, cell: Cell | LogprobCell) -> _CellWork:
        limit = cell.max_tokens if isinstance(cell, Cell) else 1
        return self._cells.setdefault(cell.id, _CellWork(limit=limit))

    def _change(self, work: _CellWork, runs: int) -> None:
        work.left += runs
        self.left += runs
        if work.tokens is None:
            self._left_limits += runs * work.limit
        else:
            self._left_tokens += runs * work.tokens

    def _end_run(self, name: str) -> None:
        self._running[name] -= 1
        if self._running[name] <= 0:
            del self._running[name]
        self._set_running()

    def _set_running(self) -> None:
        self._shown = next(iter(self._running), "")
        others = self._running.total() - 1
        self._others = f" +{others}" if others > 0 else ""


def _duration(seconds: float) -> str:
    if seconds < _SECONDS_SHOWN:
        return f"{seconds:.0f} s"
    minutes = round(seconds / _MINUTE)
    if minutes < _SECONDS_SHOWN:
        return f"{minutes} min"
    return f"{seconds / _HOUR:.1f} h"


class _Display:
    """Counts, and shows nothing."""

    def __init__(self, work: _Work, *, shows_drift: bool) -> None:
        self._work = work
        self._findings = 0
        self._shows_drift = shows_drift

    def started(self, runs: Iterable[tuple[Cell | LogprobCell, int]]) -> None:
        """Add work."""
        for cell, count in runs:
            self._work.add(cell, count)
        self._show()

    def began(self, cell: Cell | LogprobCell) -> None:
        """Note that a run of a cell begins."""
        self._work.begin(cell)
        self._show()

    def ran(self, cell: Cell | LogprobCell, *, tokens: int) -> None:
        """Count one finished run of a cell."""
        self._work.finish(cell, tokens)
        self._show()

    def skipped(self, cell: Cell | LogprobCell, *, runs: int) -> None:
        """Leave out runs of a cell."""
        self._work.drop(cell, runs)
        self._show()

    def found(self, cell: Cell, finding: Finding) -> None:
        """Print a finding, except a missing golden."""
        is_hidden = isinstance(finding, Drift) and not self._shows_drift
        if is_hidden or isinstance(finding, Unrecorded):
            return
        self._findings += 1
        if self._findings > MAX_FINDINGS + 1:
            return
        line = Text("further findings are in the report")
        if self._findings <= MAX_FINDINGS:
            claim = log_line(f"  {cell.id}: {describe_finding(finding)}")
            line = Text.assemble((finding.word, style(outcome_of_verdict(finding))), claim)
        self._print(line)

    def _show(self) -> None:
        """Show nothing."""

    def _print(self, line: Text) -> None:
        """Print nothing."""


class _WorkColumn(ProgressColumn):
    """The line of the work, as wide as the terminal allows."""

    def __init__(self, work: _Work, console: Console) -> None:
        super().__init__(Column(no_wrap=True))
        self._work = work
        self._console = console

    def render(self, task: Task) -> Text:
        """Return the line; the time that is left runs on between two updates."""
        del task
        width = self._console.width
        return Text(self._work.line(width - min(_MAX_BAR, width // 8) - 1))


class _Bar(_Display):
    """A progress bar."""

    def __init__(self, work: _Work, bar: RichProgress, *, shows_drift: bool) -> None:
        super().__init__(work, shows_drift=shows_drift)
        self._bar = bar
        self._task: TaskID | None = None

    def _show(self) -> None:
        if self._task is None:
            self._task = self._bar.add_task("", total=self._work.total)
        self._bar.update(self._task, total=self._work.total, completed=self._work.done)

    def _print(self, line: Text) -> None:
        # Printed above the bar.
        self._bar.console.print(line, soft_wrap=True)


class _Log(_Display):
    """A line for the first run, and later for a tenth of the work, if that took long enough."""

    def __init__(self, work: _Work, console: Console, *, shows_drift: bool) -> None:
        super().__init__(work, shows_drift=shows_drift)
        self._console = console
        self._shown: tuple[float, int] | None = None
        """When there was a line, and what was done then."""

    def _show(self) -> None:
        if self._is_due():
            self._shown = self._work.elapsed, self._work.done
            self._print(Text(self._work.line(_UNLIMITED)))

    def _is_due(self) -> bool:
        if not (self._work.done and self._work.left):
            return False
        if self._shown is None:
            return True
        since, before = self._shown
        pause, done = self._work.elapsed - since, self._work.done - before
        is_much = done * _LINES >= self._work.total
        return done > 0 and (pause >= _MAX_PAUSE_S or (is_much and pause >= _MIN_PAUSE_S))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)
