"""Consistent reports of a check and of a shard, with one of everything."""

from collections.abc import Sequence
from dataclasses import replace

from repro_gate.adapters.files.results import report_text
from repro_gate.core.report import (
    CellReport,
    EngineReport,
    GateReport,
    Note,
    NoteOrigin,
    Timing,
    result_of,
)
from repro_gate.core.shards.report import MeasuredCell, PlanIdentity, Shard, ShardReport
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.controls import Control
from repro_gate.core.tokens.generation import Divergence, Generation, first_divergence
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.judge import Repetition
from repro_gate.core.tokens.modes import ALONE, Level, Mode, ModeKind, ModeResult, Proof
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
)
from repro_gate.reports.json import summary_data
from tests.fakes.logprob_reports import rich_logprobs_of
from tests.fakes.values import (
    ENGINE_FACTS,
    PROFILE,
    cell_of,
    contrast_of,
    control_of,
    generation_of,
    golden_of,
    provenance_of,
    verification_of,
)

RUN_1 = generation_of(7, 8, 9, 10, is_traced=True)
OTHER_RUN = generation_of(7, 8, 11, 12, is_traced=True)
TIMING = Timing(wall_s=12.5, load_s=1.25, engine_s=10.0, generated_tokens=5300)
LOST = Inconclusive(reason="the engine died: \x1b[31m", remedy="free some memory")
ENGINES = (EngineReport(name="scripted", profile=PROFILE, facts=ENGINE_FACTS),)
NOTE = Note(about="tiny", message="no pre-tokenizer: \x1b[31m", origin=NoteOrigin.ENGINE)
STARTED_AT = "2026-01-02T03:04:05+00:00"
OPTIONS = ("--config", "other.toml", "--device", "cuda:0")


def diverging() -> Divergence:
    """Return where the two generations diverge."""
    found = first_divergence(RUN_1, OTHER_RUN)
    assert found is not None
    return found


DIFFERENCE = Nondeterministic(run=3, in_fresh_process=True, divergence=diverging())


def ran(cell: Cell, verdict: Verdict, *modes: ModeResult) -> CellReport:
    """Return a cell that was run three times."""
    return CellReport(
        suite="quick",
        cell=cell,
        verdict=verdict,
        runs=3,
        generation=RUN_1,
        profile=PROFILE,
        provenance=0,
        modes=modes,
    )


def not_run(cell: Cell) -> CellReport:
    """Return a cell that could not be run."""
    return CellReport(
        suite="quick",
        cell=cell,
        verdict=LOST,
        runs=0,
        generation=None,
        profile=None,
    )


def drifted(cell: Cell, golden: Generation | None = None) -> CellReport:
    """Return a cell that drifted from its golden."""
    recorded = golden_of(cell, golden or OTHER_RUN)
    divergence = first_divergence(recorded.generation, RUN_1)
    assert divergence is not None
    change = FactChange(name="device.driver", before=None, after="560.10")
    drift = Drift(divergence=divergence, golden=recorded, provenance=(change,))
    return replace(ran(cell, drift), verification=verification_of(recorded.generation))


CONCURRENT = Mode(ModeKind.CONCURRENT, 8)
MODES = (
    ModeResult(
        mode=ALONE,
        level=Level.BITS,
        answers=2,
        tokens=8,
        other_bits=0,
        shift=0.0,
        proof=Proof.SEEN,
        reason=None,
        remedy=None,
    ),
    ModeResult(
        mode=CONCURRENT,
        level=Level.TOKENS,
        answers=8,
        tokens=32,
        other_tokens=2,
        other_bits=8,
        divergence=diverging(),
        margin=0.25,
        shift=0.5,
        running=8,
        proof=Proof.SEEN,
        reason=None,
        remedy=None,
    ),
    ModeResult(
        mode=Mode(ModeKind.REPEAT),
        level=Level.ANY,
        answers=1,
        tokens=4,
        other_bits=0,
        cached=0,
        proof=Proof.ABSENT,
        reason="no token of the prompt came from the cache",
        remedy="use a longer prompt",
    ),
)
"""Of a cell whose answers differ in company."""


def depending(cell: Cell) -> CellReport:
    """Return a cell that matches its golden alone, and whose answers differ in company."""
    return ran(cell, Depends(modes=(CONCURRENT,)), *MODES)


def every_verdict() -> Sequence[CellReport]:
    """Return a cell of each verdict."""
    return (
        ran(cell_of("haiku"), Match()),
        drifted(cell_of("fox")),
        ran(cell_of("moon"), DIFFERENCE),
        depending(cell_of("night")),
        ran(cell_of("train"), Unrecorded(reason="there is no golden for this profile")),
        ran(cell_of("rain"), Vacuous(factor=Factor.SEED)),
        not_run(cell_of("snow")),
    )


def report_of(*cells: CellReport) -> GateReport:
    """Return a report with everything in it, and a cell of each verdict unless cells are given."""
    return GateReport(
        tool_version="0.1.0",
        started_at=STARTED_AT,
        suites=("quick", "hosted"),
        cells=cells or tuple(every_verdict()),
        orphans=() if cells else (Orphan(id="tiny--gone--seed1", origin=PROFILE),),
        controls=(
            control_of(divergence=diverging()),
            control_of(cell_of("fox")),
        ),
        engines=ENGINES,
        models={"tiny": {"model.sha256": "ab" * 32, "n_ctx": "256"}},
        timing=TIMING,
        interrupted=False,
        repeat_with=OPTIONS,
        logprobs=(rich_logprobs_of(),),
        provenances=(provenance_of("tiny"),),
        notes=(NOTE,),
    )


def shard_report_of(*, index: int = 1, total: int = 2) -> ShardReport:
    """Return the report of a shard with one cell of each kind."""
    return ShardReport(
        tool_version="0.1.0",
        started_at=STARTED_AT,
        shard=Shard(index, total),
        identity=PlanIdentity(
            digest="0a" * 32,
            commit="b" * 40,
            suites=("quick",),
            only="tiny*",
            runs=3,
            options=OPTIONS,
        ),
        cells=(
            MeasuredCell(
                cell=cell_of(),
                repetition=Repetition(first=RUN_1, runs=3),
                provenance=0,
                problem=None,
                modes=MODES,
            ),
            MeasuredCell(
                cell=cell_of("fox"),
                repetition=Repetition(first=RUN_1, runs=3, difference=DIFFERENCE),
                provenance=0,
                problem=LOST,
            ),
            MeasuredCell(cell=cell_of("snow"), repetition=None, provenance=None, problem=LOST),
        ),
        provenances=(provenance_of("tiny"),),
        engines=ENGINES,
        models={"tiny": {"model.sha256": "ab" * 32}},
        controls=(Control(contrast=contrast_of(), generation=OTHER_RUN),),
        logprobs=(rich_logprobs_of(),),
        timing=TIMING,
        interrupted=True,
        notes=(NOTE,),
    )


def render_json(report: GateReport) -> str:
    """Return the report.json of a report."""
    result = result_of(report)
    return report_text(result, summary_data(result))
