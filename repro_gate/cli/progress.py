"""What someone sees while a check is at work: on stderr, so that stdout stays a result."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from repro_gate.core.cells import Cell
from repro_gate.core.outcome import outcome_of_verdict
from repro_gate.core.policies import LogprobCell
from repro_gate.core.verdicts import Drift, Nondeterministic, Unrecorded
from repro_gate.ports import Progress
from repro_gate.reports.describe import describe_finding
from repro_gate.reports.foreign import log_line
from repro_gate.reports.terminal import style

_LINES = 10
"""How many lines of progress a log gets in all."""
MAX_FINDINGS = 20
"""How many findings are shown as they come; the report has them all."""


@contextmanager
def shown_progress(
    console: Console, *, quiet: bool, noun: str = "runs", shows_drift: bool = True
) -> Generator[Progress]:
    """Yield a bar on a terminal, a few plain lines elsewhere, and nothing when `quiet`.

    Unless `quiet`, findings are shown as they come; drift only if `shows_drift`.
    """
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
            yield _Bar(bar, shows_drift=shows_drift)
    else:
        yield _Lines(console, noun, shows_drift=shows_drift)


class _Tally:
    """Counts, and shows nothing."""

    def __init__(self, *, shows_drift: bool = False) -> None:
        self._cells = 0
        self._begun: set[str] = set()
        self._runs = 0
        self._done = 0
        self._tokens = 0
        self._findings = 0
        self._shows_drift = shows_drift
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

    def found(self, cell: Cell, finding: Drift | Nondeterministic | Unrecorded) -> None:
        """Print a finding; that there is no golden is no news to wait for."""
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
        """Show nothing."""

    def _print(self, line: Text) -> None:
        """Print nothing."""


class _Bar(_Tally):
    """A bar that rich draws a few times a second."""

    def __init__(self, bar: RichProgress, *, shows_drift: bool) -> None:
        super().__init__(shows_drift=shows_drift)
        self._bar = bar
        self._task: TaskID | None = None

    def _show(self) -> None:
        if self._task is None:
            self._task = self._bar.add_task("checking", total=self._runs, pace="")
        self._bar.update(self._task, total=self._total, completed=self._done, pace=self._pace())

    def _print(self, line: Text) -> None:
        # Above the bar, whoever draws it.
        self._bar.console.print(line, soft_wrap=True)


class _Lines(_Tally):
    """A line for the first run, and for every tenth of the work."""

    def __init__(self, console: Console, noun: str, *, shows_drift: bool) -> None:
        super().__init__(shows_drift=shows_drift)
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
        self._print(Text(line))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)
