"""The report that every output is rendered from, and the stored result of a check."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar, TypeAlias

from repro_gate.core.engines import Ability
from repro_gate.core.guards import require_at_least, require_name, require_sha256, require_text
from repro_gate.core.logprobs.report import LogprobReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.controls import ControlReport
from repro_gate.core.tokens.generation import Generation, first_divergence
from repro_gate.core.tokens.golden import Facts
from repro_gate.core.tokens.grade import Grade
from repro_gate.core.tokens.modes import Mode, ModeResult, Proof, require_compared
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphan,
    Unrecorded,
    Vacuous,
    Verdict,
    require_seen,
)
from repro_gate.core.tokens.verification import Verification


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReport:
    """The result of one cell."""

    suite: str
    cell: Cell
    verdict: Verdict
    runs: int
    """The number of finished runs."""
    generation: Generation | None
    """The first run; None when there was none."""
    profile: str | None
    """None when the engine did not report one."""
    provenance: int | None = None
    """Index into the report's provenances for the first run; None without a run."""
    unfinished: Inconclusive | None = None
    """Why a cell with a finding has fewer runs than planned; None when it has all."""
    verification: Verification = ()
    """Of the tokens that differ from the first run; empty if none do or the engine cannot tell."""
    modes: tuple[ModeResult, ...] = ()
    """In every mode that the suite asks for, in the order in which they are measured."""

    def __post_init__(self) -> None:
        if self.profile is not None:
            require_name(self.profile)
        require_at_least(0, runs=self.runs, provenance=self.provenance)
        if (self.runs == 0) != (self.generation is None):
            raise ValueError(
                f"{self.runs} runs, and {'no' if self.generation is None else 'a'} first one"
            )
        _require_evidence(self)
        _require_modes(self)

    @property
    def id(self) -> str:
        """The id of the cell."""
        return self.cell.id

    @property
    def golden_profile(self) -> str | None:
        """The profile of the golden: another one where a drift of a suite against it shows that."""
        return self.verdict.golden.profile if isinstance(self.verdict, Drift) else self.profile


def _require_evidence(report: CellReport) -> None:
    """Raise ValueError unless the runs of a cell support its verdict."""
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


def _require_modes(report: CellReport) -> None:
    """Raise ValueError unless the results of a cell in its modes support its verdict."""
    require_compared(report.modes, report.generation)
    differing = tuple(result.mode for result in report.modes if result.falls_short)
    doubted = {result.mode: result.proof for result in report.modes if result.is_in_doubt}
    match report.verdict:
        case Match() if differing or doubted:
            raise ValueError(f"a match despite {(*differing, *doubted)[0]}")
        case Depends(modes=modes) if modes != differing:
            raise ValueError("answers differ in other modes than the verdict has")
        case Vacuous(mode=Mode() as mode) if doubted.get(mode) is not Proof.ABSENT:
            raise ValueError(f"the answers of {mode} may have been generated in it")
        case _:
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """An engine as it described itself."""

    name: str
    profile: str
    facts: Facts
    can: frozenset[Ability] = frozenset()

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
        require_at_least(0, wall_s=self.wall_s, load_s=self.load_s, engine_s=self.engine_s)
        require_at_least(0, generated_tokens=self.generated_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """The results of a check."""

    tool_version: str
    started_at: str
    """ISO 8601, UTC."""
    suites: tuple[str, ...]
    cells: tuple[CellReport, ...]
    orphans: tuple[Orphan, ...] = ()
    """Goldens that no cell uses."""
    controls: tuple[ControlReport, ...]
    engines: tuple[EngineReport, ...]
    """Several of one name where machines of one profile reported different facts."""
    models: Mapping[str, Facts]
    """Facts and settings of each loaded model, by name."""
    timing: Timing
    interrupted: bool
    """Whether the check was interrupted; cells that it did not reach are inconclusive."""
    repeat_with: tuple[str, ...] = ()
    """Options that select the same matrix and device again, such as `--device`, `cuda`."""
    logprobs: tuple[LogprobReport, ...] = ()
    """One for each suite whose log-probabilities were checked."""
    provenances: tuple[Facts, ...] = ()
    """The distinct provenances of the cells: engine, machine, model and settings."""
    notes: tuple[Note, ...] = ()
    """Distinct notes; they never change the outcome."""
    commit: str | None = None
    """The checked-out commit; None if it is unknown or a tracked file differs from it."""
    grades: tuple[Grade, ...] = ()
    """One for each model in each suite in which it drifted, or which is against a profile."""

    @property
    def measured(self) -> bool:
        """Whether any cell was run or drawn."""
        drawn = any(part.measured for part in self.logprobs)
        return drawn or any(cell.runs for cell in self.cells)

    def grade_of(self, cell: CellReport) -> Grade | None:
        """Return the grade of a drifted cell; None where there is none."""
        if not isinstance(cell.verdict, Drift):
            return None
        of = (cell.suite, cell.cell.model)
        return next((grade for grade in self.grades if (grade.suite, grade.model) == of), None)

    @property
    def counts(self) -> Mapping[str, int]:
        """Numbers of cells by verdict, and of orphaned goldens."""
        return Counter(found.word for found in (*(c.verdict for c in self.cells), *self.orphans))


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCheck:
    """The check finished or was interrupted, and has a report."""

    word: ClassVar[str] = "finished"

    report: GateReport
    observed: Mapping[str, str] = field(default_factory=dict[str, str])
    """By cell id, the SHA-256 of the file below `observed/` that was written of the cell."""

    def __post_init__(self) -> None:
        run = {cell.id for cell in self.report.cells if cell.generation and cell.profile}
        for cell_id, digest in self.observed.items():
            if cell_id not in run:
                raise ValueError(f"nothing was observed of {cell_id}")
            require_sha256(digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedCheck:
    """The check did not start: an invalid file or command line, or nothing to measure."""

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
    """Return the result of a check as it is stored.

    Cells that match a golden or have none are stored without traces, which would be nine tenths of
    a large report, are never shown, and are also in the golden or in the file of what was observed.
    """
    cells = tuple(map(_without_unused_trace, report.cells))
    return FinishedCheck(report=replace(report, cells=cells), observed=observed)


def excerpt_of(report: GateReport, cell: CellReport) -> GateReport:
    """Return the part of a report that is about one cell of tokens."""
    engines = tuple(engine for engine in report.engines if engine.profile == cell.profile)
    about = {cell.id, cell.suite, cell.cell.model, cell.cell.prompt, *(one.name for one in engines)}
    index, grade = cell.provenance, report.grade_of(cell)
    return replace(
        report,
        suites=(cell.suite,),
        cells=(replace(cell, provenance=None if index is None else 0),),
        orphans=(),
        controls=(),
        engines=engines,
        models={name: facts for name, facts in report.models.items() if name == cell.cell.model},
        logprobs=(),
        provenances=() if index is None else (report.provenances[index],),
        notes=tuple(note for note in report.notes if note.about in about),
        grades=() if grade is None else (grade,),
    )


def _without_unused_trace(cell: CellReport) -> CellReport:
    if not (cell.generation and isinstance(cell.verdict, Match | Unrecorded)):
        return cell
    return replace(cell, generation=replace(cell.generation, trace=()))
