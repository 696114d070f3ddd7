"""What a check of tokens rests on: modes, grades and controls, as a template shows them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from repro_gate.core.outcome import Outcome
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.grade import LARGEST_SHIFT, Grade
from repro_gate.core.tokens.modes import Level
from repro_gate.reports.findings.grades import rank_of
from repro_gate.reports.findings.modes import (
    MISSED,
    Dependence,
    Entry,
    Invariance,
    dependences,
    format_doubts,
    format_entry,
    format_missed,
    format_tokens,
    invariances,
    tightened,
    weakest,
)
from repro_gate.reports.findings.tokens import Finding, grade_finding
from repro_gate.reports.findings.wording import describe_control
from repro_gate.reports.html.charts import Kind
from repro_gate.reports.html.strip import Marks, Strip, strip_paths
from repro_gate.reports.html.svg import Axis
from repro_gate.reports.text.escape import Line
from repro_gate.reports.text.format import nats, plural

_GRADE_KEY: Final = (
    (Kind.BAND, "no further than a recorded harmless change"),
    (Kind.DRAWS, "recorded harmless change"),
    (Kind.NOW, "this check"),
    (Kind.AWAY, "this check, further than all of them"),
    (Kind.LIMIT, "distance that these cells can detect"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeCell:
    """One mode of a model: what holds in it."""

    outcome: Outcome | None
    """None where nothing is required."""
    word: str
    answers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeTable:
    """Models with the same modes and required levels."""

    modes: Sequence[str]
    required: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[ModeCell]]]
    """The model, the suite, which is untrusted, and what holds in each mode."""
    compared: Sequence[str]
    missed: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """What the answers of served models depend on."""

    tables: Sequence[ModeTable]
    legend: str
    dependences: Sequence[Dependence]
    doubts: Sequence[Line]
    tightened: Sequence[tuple[str, str]]
    """A suite, which is untrusted, and what its matrix could require."""


def modes_of(report: GateReport) -> Modes | None:
    """Return the modes of a report; None without any."""
    rows = invariances(report.cells)
    if not rows:
        return None
    columns = dict.fromkeys(row.columns for row in rows)
    return Modes(
        tables=[_mode_table([row for row in rows if row.columns == each]) for each in columns],
        legend=f"{MISSED.capitalize()}.",
        dependences=tuple(dependences(report)),
        doubts=tuple(format_doubts(rows)),
        tightened=tuple(tightened(report)),
    )


def _mode_table(rows: Sequence[Invariance]) -> ModeTable:
    least = [weakest(entries) for entries in zip(*(row.entries for row in rows), strict=True)]
    return ModeTable(
        modes=[str(entry.mode) for entry in least],
        required=[entry.level.value for entry in least],
        rows=[(row.model, row.suite, list(map(_mode_cell, row.entries))) for row in rows],
        compared=list(map(format_tokens, least)),
        missed=list(map(format_missed, least)),
    )


def _mode_cell(entry: Entry) -> ModeCell:
    is_required = entry.level is not Level.ANY
    return ModeCell(
        outcome=entry.outcome if is_required else None,
        word=entry.word if is_required else "not required",
        answers=format_entry(entry),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeView:
    """A grade with its distances as a picture."""

    word: str
    model: str
    suite: str
    """Untrusted."""
    finding: Finding
    strip: Strip | None
    """None where no recorded change is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grades:
    """The grades of a check, the one that needs most attention first."""

    grades: Sequence[GradeView]
    key: Sequence[tuple[Kind, str]] = _GRADE_KEY


def grades_of(report: GateReport) -> Grades | None:
    """Return the grades of a report; None without any."""
    views = [
        GradeView(
            word=grade.word.value,
            model=grade.model,
            suite=grade.suite,
            finding=grade_finding(grade, report),
            strip=_strip(grade),
        )
        for grade in sorted(report.grades, key=rank_of)
    ]
    return Grades(grades=views) if views else None


def _strip(grade: Grade) -> Strip | None:
    """Return the distances from the goldens: of recorded changes, and now."""
    if grade.distance is None or not grade.variants:
        return None
    recorded = [variant.distance for variant in grade.variants]
    furthest = max(recorded)
    detected = [] if grade.detectable_shift is None else [furthest + grade.detectable_shift]
    top = 1.1 * max(furthest + LARGEST_SHIFT, grade.distance, *detected)
    marks = Marks(
        recorded=recorded, now=(grade.distance,), allowed=(0.0, furthest), limits=detected
    )
    named = ", ".join(f"{variant.name} {nats(variant.distance)}" for variant in grade.variants)
    return Strip(
        label=f"Distance from the goldens: {nats(grade.distance)} in this check; {named}",
        paths=strip_paths(marks, Axis(0.0, top)),
        axis=("0", "distance", nats(top)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """The controls of the token gate."""

    sentence: str
    rows: Sequence[tuple[Outcome, str, str]]
    """The outcome, the cell, and what was found."""


def controls_of(report: GateReport) -> Controls | None:
    """Return the controls of tokens; None where no token was checked."""
    if not report.cells:
        return None
    if not report.controls:
        return Controls(
            sentence="No control was run, so nothing here shows that this check can fail.", rows=()
        )
    counted = plural(len(report.controls), "control")
    return Controls(
        sentence=f"{counted}: another seed and another prompt must change the output of a model.",
        rows=tuple(_control_rows(report)),
    )


def _control_rows(report: GateReport) -> Iterator[tuple[Outcome, str, str]]:
    for control in report.controls:
        is_unknown = control.problem is not None
        outcome = Outcome.FAILED if control.failed else Outcome.PASSED
        yield (
            Outcome.INCONCLUSIVE if is_unknown else outcome,
            control.contrast.cell.id,
            describe_control(control).sentence,
        )
