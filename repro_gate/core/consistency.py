"""Whether the parts of a report from elsewhere fit together.

Values check their own fields on construction; this module checks what takes two values. A
consistent report may still be false.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from repro_gate.core.cause import forced_through, not_rounding
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.shards.report import MeasuredCell, ShardReport
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.controls import Control
from repro_gate.core.tokens.grade import NOT_ROUNDING, Grade, GradeReason
from repro_gate.core.tokens.verdicts import Depends, Drift, Match
from repro_gate.core.tokens.verification import claim_of

_OPTIONS = frozenset({"--config", "--device"})
"""Options that select the same matrix and device again."""
_ROUNDING = 1e-6
"""Of a sum of distances."""
_UNSHOWN = (None, *(reason for reason in GradeReason if reason not in NOT_ROUNDING))
"""Reasons that no cell shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconsistency:
    """One place at which a value does not fit the rest of its report."""

    place: str
    """As a path of fields, such as `cells[3].provenance`."""
    expected: str
    found: str
    """One printable line of untrusted text."""


def validate_report(report: GateReport, *, is_excerpt: bool = False) -> Inconsistency | None:
    """Return the first inconsistency of a report, or None.

    Args:
        report: the report.
        is_excerpt: whether it has one of the cells that a grade is of; see `excerpt_of`.
    """
    grades = _in_excerpt(report) if is_excerpt else _in_grades(report)
    return next(
        chain(
            _in_provenances(report.cells, known=len(report.provenances)),
            _in_verifications(report.cells),
            grades,
            _in_options("repeat_with", report.repeat_with),
        ),
        None,
    )


def validate_shard(report: ShardReport) -> Inconsistency | None:
    """Return the first inconsistency of the report of a shard, or None."""
    return next(
        chain(
            _in_options("identity.options", report.identity.options),
            _in_provenances(report.cells, known=len(report.provenances)),
            *(_in_control(index, run, report) for index, run in enumerate(report.controls)),
            _in_models(report),
        ),
        None,
    )


def _in_options(place: str, words: Iterable[str]) -> Iterator[Inconsistency]:
    """Yield options that are unsafe to copy into a command, such as `--prune`."""
    for index, word in enumerate(words):
        if word.startswith("--") and word not in _OPTIONS:
            yield Inconsistency(
                place=f"{place}[{index}]",
                expected=f"one of {', '.join(sorted(_OPTIONS))}",
                found=escape_text(word),
            )


def _in_provenances(
    cells: Iterable[CellReport | MeasuredCell], *, known: int
) -> Iterator[Inconsistency]:
    for index, cell in enumerate(cells):
        if cell.provenance is not None and cell.provenance >= known:
            yield Inconsistency(
                place=f"cells[{index}].provenance",
                expected=f"one of {known} provenances, counted from 0",
                found=str(cell.provenance),
            )


def _in_verifications(cells: Iterable[CellReport]) -> Iterator[Inconsistency]:
    for index, cell in enumerate(cells):
        claim = () if cell.generation is None else claim_of(cell.generation, cell.verdict)
        found = [token.id for token in cell.verification]
        if found and found != [token.id for token in claim]:
            yield Inconsistency(
                place=f"cells[{index}].verification",
                expected=f"the {len(claim)} tokens that differ from run 1",
                found=f"{len(found)} tokens",
            )


def _in_excerpt(report: GateReport) -> Iterator[Inconsistency]:
    if len(report.cells) != 1:
        yield Inconsistency(place="cells", expected="one cell", found=str(len(report.cells)))
    elif report.grades not in {(), (report.grade_of(report.cells[0]),)}:
        expected = "only the grade of the drifted cell"
        yield Inconsistency(place="grades", expected=expected, found="another")


def _in_grades(report: GateReport) -> Iterator[Inconsistency]:
    tests = sum(grade.p_value is not None for grade in report.grades)
    cells: dict[tuple[str, str], list[CellReport]] = defaultdict(list)
    for cell in report.cells:
        cells[cell.suite, cell.cell.model].append(cell)
    for index, grade in enumerate(report.grades):
        place, of = f"grades[{index}]", (grade.suite, grade.model)
        if any((each.suite, each.model) == of for each in report.grades[:index]):
            yield Inconsistency(place=place, expected="one grade of a suite and model", found="two")
        elif grade.p_value is not None and grade.tests != tests:
            yield Inconsistency(place=f"{place}.tests", expected=str(tests), found=str(grade.tests))
        else:
            yield from _in_grade(place, grade, cells[of])


def _in_grade(place: str, grade: Grade, cells: Iterable[CellReport]) -> Iterator[Inconsistency]:
    """Yield what the cells of a grade contradict; the references are not in a report."""
    matching = sum(isinstance(cell.verdict, Match | Depends) for cell in cells)
    drifted = [cell for cell in cells if isinstance(cell.verdict, Drift)]
    unverified = sum(forced_through(cell) is None for cell in drifted)
    compared = len(drifted) - grade.not_compared
    shown = ((not_rounding(cell), cell.id) for cell in drifted)
    reason, shown_by = next((at for at in shown if at[0]), (None, None))
    for field, expected, found in (
        ("not_compared", range(unverified, len(drifted) + 1), grade.not_compared),
        ("cells", range(compared, compared + matching + 1), grade.cells),
        ("shown_by", (shown_by,), grade.shown_by),
        ("reason", (reason,) if reason else _UNSHOWN, grade.reason),
        ("outlier", (None, *(cell.id for cell in drifted)), grade.outlier),
    ):
        if found not in expected:
            what = f"what the {len(drifted)} drifted and {matching} matching cells show"
            yield Inconsistency(
                place=f"{place}.{field}", expected=what, found=escape_text(str(found))
            )
    if compared == len(drifted):
        yield from _in_distance(f"{place}.distance", grade, drifted)


def _in_distance(
    place: str, grade: Grade, drifted: Iterable[CellReport]
) -> Iterator[Inconsistency]:
    forced = (forced_through(cell) for cell in drifted)
    total = math.fsum(each.mean_distance or 0.0 for each in forced if each is not None)
    if grade.distance is not None and not math.isclose(
        total, grade.distance * grade.cells, abs_tol=_ROUNDING
    ):
        yield Inconsistency(
            place=place, expected=f"{total / grade.cells:g}", found=f"{grade.distance:g}"
        )


def _in_control(index: int, control: Control, report: ShardReport) -> Iterator[Inconsistency]:
    if control.problem is not None:
        return
    run_here = {one.cell for one in report.cells if one.repetition is not None}
    for name, cell, generation in (
        ("reference", control.contrast.cell, control.reference),
        ("generation", control.contrast.varied, control.generation),
    ):
        if generation is None and cell not in run_here:
            yield Inconsistency(
                place=f"controls[{index}].{name}",
                expected=f"the output of {cell.id}, which was not run here as a cell",
                found="none",
            )


def _in_models(report: ShardReport) -> Iterator[Inconsistency]:
    for one in report.cells:
        if one.repetition is not None and one.cell.model not in report.models:
            yield Inconsistency(
                place="models",
                expected=f"{one.cell.model}, which {one.cell.id} is of",
                found="none of that name",
            )
