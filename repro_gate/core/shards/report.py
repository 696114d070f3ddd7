"""A part of the matrix that one runner measures, and what it says to those who put all together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from repro_gate.core.guards import require_at_least
from repro_gate.core.logprobs.report import LogprobReport
from repro_gate.core.report import EngineReport, Note, Timing
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.controls import Control
from repro_gate.core.tokens.golden import Facts
from repro_gate.core.tokens.judge import Repetition
from repro_gate.core.tokens.measurement import Measurement
from repro_gate.core.tokens.verdicts import Inconclusive

_MOST = 9999
"""A file that speaks of more shards is no work of ours."""
_SHARD = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts, counted from 1."""

    index: int
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.total <= _MOST:
            raise ValueError(f"a shard is I/N with 1 <= I <= N, such as 2/8, not {self}")

    def __str__(self) -> str:
        """Return the shard as one writes it."""
        return f"{self.index}/{self.total}"


def shard_of(text: str) -> Shard:
    """Return the shard that `I/N` names.

    Raises:
        ValueError: it names none.
    """
    parts = _SHARD.fullmatch(text)
    if parts is None:
        raise ValueError(f"a shard is I/N with 1 <= I <= N, such as 2/8, not {text!r}")
    return Shard(int(parts[1]), int(parts[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCell:
    """What one shard saw of one cell."""

    cell: Cell
    repetition: Repetition | None
    """None when there was no run."""
    provenance: int | None
    """Which of the shard's provenances is that of the runs; None when there was none."""
    problem: Inconclusive | None
    """None when nothing went wrong."""

    def __post_init__(self) -> None:
        require_at_least(0, provenance=self.provenance)
        if (self.repetition is None) != (self.provenance is None):
            raise ValueError("a cell that was run has a provenance, and no other has")


def measured_cells(cells: Sequence[Cell], seen: Measurement) -> tuple[MeasuredCell, ...]:
    """Return what was seen of each of some cells."""
    provenances = seen.provenances(cells)
    return tuple(
        MeasuredCell(
            cell=cell,
            repetition=seen.repetitions.get(cell),
            provenance=provenances.index(seen.facts[cell]) if cell in seen.repetitions else None,
            problem=seen.problems.get(cell),
        )
        for cell in cells
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanIdentity:
    """What every shard of one check has in common."""

    digest: str
    """SHA-256 of everything that is planned, over all shards."""
    commit: str | None
    """The commit of the checkout; None where there is no git."""
    suites: tuple[str, ...]
    """As asked for; empty for the default ones."""
    only: str | None
    runs: int | None
    options: tuple[str, ...]
    """What a command needs to mean the same matrix on the same device."""

    def __post_init__(self) -> None:
        require_at_least(1, runs=self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """Everything that one shard measured; the verdicts are given when all shards are together."""

    tool_version: str
    started_at: str
    """ISO 8601, UTC."""
    shard: Shard
    identity: PlanIdentity
    cells: tuple[MeasuredCell, ...]
    provenances: tuple[Facts, ...]
    """What ran the cells: engine, machine, model and settings."""
    engines: tuple[EngineReport, ...]
    models: Mapping[str, Facts]
    controls: tuple[Control, ...]
    logprobs: tuple[LogprobReport, ...]
    """A suite of log-probabilities is judged as a whole, and so one shard measures all of it."""
    timing: Timing
    interrupted: bool
    notes: tuple[Note, ...]
