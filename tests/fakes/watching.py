"""A recording progress, a fake clock, and a scripted Ctrl-C."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.verdicts import Finding

Event: TypeAlias = tuple[str, int, int] | tuple[str, str, int]


def _nothing() -> None:
    """Do nothing, when no tripwire is set."""


@dataclass(slots=True, kw_only=True)
class RecordingProgress:
    """Records what is reported."""

    step: Callable[[], None] = _nothing
    keeps_log: bool = True
    log: list[Event] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    """The cells whose runs have begun, in order."""
    findings: list[tuple[int, str, str]] = field(default_factory=list)
    """How many events came before it, the cell, and the word of the finding."""

    def started(self, runs: Iterable[tuple[Cell | LogprobCell, int]]) -> None:
        """Remember for how many cells there is something to do, and how much."""
        counts = [count for _, count in runs]
        self._note(("started", len(counts), sum(counts)))

    def began(self, cell: Cell | LogprobCell) -> None:
        """Remember the cell whose run begins."""
        self.begun.append(cell.id)

    def ran(self, cell: Cell | LogprobCell, *, tokens: int) -> None:
        """Remember that one run of a cell is finished."""
        self._note(("ran", cell.id, tokens))

    def skipped(self, cell: Cell | LogprobCell, *, runs: int) -> None:
        """Remember that the remaining runs of a cell will not happen."""
        self._note(("skipped", cell.id, runs))

    def found(self, cell: Cell, finding: Finding) -> None:
        """Remember a finding, by the number of events before it."""
        self.findings.append((len(self.log), cell.id, finding.word))

    @property
    def runs_accounted_for(self) -> int:
        """How many runs were reported as finished or left out."""
        return sum(
            1 if event[0] == "ran" else event[2] for event in self.log if event[0] != "started"
        )

    def _note(self, event: Event) -> None:
        self.step()
        if self.keeps_log:
            self.log.append(event)


class FakeClock:
    """Moves only when time is spent on it."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def spend(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Tripwire:
    """Presses Ctrl-C at one step of many."""

    def __init__(self, *, at: int | None = None) -> None:
        self.steps = 0
        self._at = at

    def __call__(self) -> None:
        """Take a step."""
        self.steps += 1
        if self.steps == self._at:
            raise KeyboardInterrupt
