"""The one value that every report is rendered from."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar, TypeAlias

from repro_gate.core.guards import require_at_least, require_name, require_text
from repro_gate.core.logprobs.report import LogprobReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.controls import ControlReport
from repro_gate.core.tokens.generation import Generation, first_divergence
from repro_gate.core.tokens.golden import Facts
from repro_gate.core.tokens.verdicts import (
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphan,
    Verdict,
    require_seen,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReport:
    """What is known of one cell."""

    suite: str
    cell: Cell
    verdict: Verdict
    runs: int
    """How many runs were finished."""
    generation: Generation | None
    """The first run; None when there was none."""
    profile: str | None
    """None when the engine could not say on what it would run."""
    provenance: int | None = None
    """Which of the report's provenances is that of the first run; None when there was none."""
    unfinished: Inconclusive | None = None
    """Why a cell with a finding was not run as often as planned; None when it was."""

    def __post_init__(self) -> None:
        if self.profile is not None:
            require_name(self.profile)
        require_at_least(0, runs=self.runs, provenance=self.provenance)
        if (self.runs == 0) != (self.generation is None):
            raise ValueError(
                f"{self.runs} runs, and {'no' if self.generation is None else 'a'} first one"
            )
        _require_evidence(self)

    @property
    def id(self) -> str:
        """The id of the cell."""
        return self.cell.id


def _require_evidence(report: CellReport) -> None:
    """Raise ValueError unless the runs of a cell show what its verdict claims."""
    verdict, first = report.verdict, report.generation
    if first is None:
        if not isinstance(verdict, Inconclusive):
            raise ValueError(f"the verdict {verdict.word} needs a run")
    elif isinstance(verdict, Drift):
        if verdict.golden.cell != report.cell:
            raise ValueError("the golden is of another definition of the cell")
        if first_divergence(verdict.golden.generation, first) != verdict.divergence:
            raise ValueError("golden and generation do not differ first at this divergence")
    elif isinstance(verdict, Nondeterministic):
        require_seen(verdict, first=first, runs=report.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """An engine as it described itself."""

    name: str
    profile: str
    facts: Facts

    def __post_init__(self) -> None:
        require_text(name=self.name)
        require_name(self.profile)


class NoteOrigin(StrEnum):
    """Who noticed it."""

    GATE = "gate"
    ENGINE = "engine"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something worth knowing that never changes an outcome."""

    about: str
    """The name of a model, an engine, a prompt, a suite or a cell."""
    message: str
    """One sentence; untrusted text when it comes from an engine or a server."""
    origin: NoteOrigin

    def __post_init__(self) -> None:
        require_text(about=self.about, message=self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the time went; seconds by the wall clock."""

    wall_s: float
    load_s: float
    """Starting engines and loading models."""
    engine_s: float
    """Decoding and sampling, as the engine counts it."""
    generated_tokens: int

    def __post_init__(self) -> None:
        require_at_least(
            0,
            wall_s=self.wall_s,
            load_s=self.load_s,
            engine_s=self.engine_s,
            generated_tokens=self.generated_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """Everything that a check found."""

    tool_version: str
    started_at: str
    """ISO 8601, UTC."""
    suites: tuple[str, ...]
    cells: tuple[CellReport, ...]
    orphans: tuple[Orphan, ...] = ()
    """Goldens that no cell uses."""
    controls: tuple[ControlReport, ...]
    engines: tuple[EngineReport, ...]
    """Of one name there are several where machines of one profile told different facts."""
    models: Mapping[str, Facts]
    """What each loaded model is and how it was set up, by name."""
    timing: Timing
    interrupted: bool
    """True when the check was stopped: what it did not reach is inconclusive."""
    repeat_with: tuple[str, ...] = ()
    """Options that a command on the same matrix and device needs, such as `--device`, `cuda`."""
    logprobs: tuple[LogprobReport, ...] = ()
    """One for each suite whose log-probabilities were checked."""
    provenances: tuple[Facts, ...] = ()
    """What ran the cells, each once: engine, machine, model and settings."""
    notes: tuple[Note, ...] = ()
    """Each once; they never change the outcome."""

    @property
    def measured(self) -> bool:
        """Tell whether any cell was run or drawn at all."""
        drawn = any(part.measured for part in self.logprobs)
        return drawn or any(cell.runs for cell in self.cells)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many cells have each verdict, by its word, and how many goldens are orphaned."""
        return Counter(found.word for found in (*(c.verdict for c in self.cells), *self.orphans))


_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCheck:
    """The check came to its end, or was interrupted, and has a report."""

    word: ClassVar[str] = "finished"

    report: GateReport
    observed: Mapping[str, str] = field(default_factory=dict[str, str])
    """By cell id, the SHA-256 of the file below `observed/` that was written of the cell."""

    def __post_init__(self) -> None:
        run = {cell.id for cell in self.report.cells if cell.generation and cell.profile}
        for cell_id, digest in self.observed.items():
            if cell_id not in run:
                raise ValueError(f"nothing was observed of {cell_id}")
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"a SHA-256 has 64 hexadecimal digits, got {digest}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedCheck:
    """The check could not be made: an invalid file, a wrong command line, nothing to measure."""

    word: ClassVar[str] = "unfinished"

    exit_code: int
    message: str
    """Untrusted text of one or more lines; it names the file and the place."""
    remedy: str | None = None

    def __post_init__(self) -> None:
        require_at_least(1, exit_code=self.exit_code)


CheckResult: TypeAlias = FinishedCheck | UnfinishedCheck
"""A check that was killed leaves neither."""


def result_of(report: GateReport, *, observed: Mapping[str, str] = {}) -> FinishedCheck:
    """Return the result of a check as it is kept.

    A cell that matches has no trace: it would be nine tenths of a large report, no report shows
    it, and the golden has the same.
    """
    cells = tuple(map(_without_needless_trace, report.cells))
    return FinishedCheck(report=replace(report, cells=cells), observed=observed)


def _without_needless_trace(cell: CellReport) -> CellReport:
    if cell.generation is None or not isinstance(cell.verdict, Match):
        return cell
    return replace(cell, generation=replace(cell.generation, trace=()))
