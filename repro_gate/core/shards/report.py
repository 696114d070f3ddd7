"""A shard: the part of a matrix that one runner measures, and its report."""

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
from repro_gate.core.tokens.modes import ModeResult, require_compared
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.tokens.verification import Verification

MAX_SHARDS = 9999
_SHARD = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `total` shards, counted from 1."""

    index: int
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.total <= MAX_SHARDS:
            raise ValueError(f"a shard is I/N with 1 <= I <= N, such as 2/8, not {self}")

    def __str__(self) -> str:
        """Return `I/N`."""
        return f"{self.index}/{self.total}"


def shard_of(text: str) -> Shard:
    """Parse `I/N`.

    Raises:
        ValueError: it is no shard.
    """
    parts = _SHARD.fullmatch(text)
    if parts is None:
        raise ValueError(f"a shard is I/N with 1 <= I <= N, such as 2/8, not {text!r}")
    return Shard(int(parts[1]), int(parts[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCell:
    """The measurement of one cell by one shard."""

    cell: Cell
    repetition: Repetition | None
    """None when there was no run."""
    provenance: int | None
    """Index into the shard's provenances; None without a run."""
    problem: Inconclusive | None
    """Why the cell was not measured completely; None when it was."""
    verification: Verification = ()
    modes: tuple[ModeResult, ...] = ()

    def __post_init__(self) -> None:
        require_at_least(0, provenance=self.provenance)
        if (self.repetition is None) != (self.provenance is None):
            raise ValueError("a cell that was run has a provenance, and no other has")
        require_compared(self.modes, None if self.repetition is None else self.repetition.first)


def measured_cells(cells: Sequence[Cell], seen: Measurement) -> tuple[MeasuredCell, ...]:
    """Return the measurements of some cells."""
    provenances = seen.provenances(cells)
    return tuple(
        MeasuredCell(
            cell=cell,
            repetition=seen.repetitions.get(cell),
            provenance=provenances.index(seen.facts[cell]) if cell in seen.repetitions else None,
            problem=seen.problems.get(cell),
            verification=seen.verifications.get(cell, ()),
            modes=seen.modes_of(cell),
        )
        for cell in cells
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanIdentity:
    """Properties that all shards of one check share."""

    digest: str
    """SHA-256 of the whole plan, over all shards."""
    commit: str | None
    """The commit of the checkout; None where there is no git."""
    suites: tuple[str, ...]
    """The selected suites; empty for the default ones."""
    only: str | None
    runs: int | None
    options: tuple[str, ...]
    """Options that select the same matrix and device again."""

    def __post_init__(self) -> None:
        require_at_least(1, runs=self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """The measurements of one shard; verdicts follow after merging."""

    tool_version: str
    started_at: str
    """ISO 8601, UTC."""
    shard: Shard
    identity: PlanIdentity
    cells: tuple[MeasuredCell, ...]
    provenances: tuple[Facts, ...]
    """The distinct provenances of the cells: engine, machine, model and settings."""
    engines: tuple[EngineReport, ...]
    models: Mapping[str, Facts]
    controls: tuple[Control, ...]
    logprobs: tuple[LogprobReport, ...]
    """Complete suites: one shard measures all cells of a suite of log-probabilities."""
    timing: Timing
    interrupted: bool
    notes: tuple[Note, ...]
    commit: str | None = None
    """The checked-out commit; None if it is unknown or a tracked file differs from it."""
