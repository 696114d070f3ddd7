"""Modes, grades and controls on the page of a check."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.outcome import Outcome
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.grade import Grade, GradeReason, GradeWord
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.reports.html.charts import Kind
from repro_gate.reports.html.check.evidence import controls_of, grades_of, modes_of
from tests.fakes.reports import report_of
from tests.fakes.values import cell_of, control_of
from tests.reports.conftest import GRADES

Build = Callable[..., GateReport]


def test_modes_are_a_table_of_models() -> None:
    """With what is required, what holds, and how sure that is."""
    found = modes_of(report_of())
    assert found is not None
    (table,) = found.tables

    assert table.modes == ["alone", "concurrent-8", "repeat"]
    assert table.required == ["bits", "tokens", "any"]
    ((model, suite, cells),) = table.rows
    assert (model, suite) == ("tiny", "quick")
    assert [cell.outcome for cell in cells] == [Outcome.PASSED, Outcome.FAILED, None]
    assert [cell.word for cell in cells] == ["holds", "depends", "not required"]
    assert table.missed == ["96.1 %", "-", "-"]
    assert len(table.compared) == 3
    assert [each.where for each in found.dependences] == ["concurrent-8 of tiny"]


def test_a_check_without_modes_has_no_table(gate_report: Build) -> None:
    """The section is left out."""
    assert modes_of(gate_report()) is None


def test_the_distance_of_a_grade_is_drawn_beside_those_of_harmless_changes(
    gate_report: Build,
) -> None:
    """In another colour where it is further than all of them."""
    found = grades_of(gate_report(grades=GRADES))
    assert found is not None
    beyond, undecided, consistent = found.grades

    words = [each.word for each in (beyond, undecided, consistent)]
    assert words == list(map(str, (GradeWord.BEYOND, GradeWord.UNDECIDED, GradeWord.CONSISTENT)))
    assert all(each.strip is not None for each in found.grades)
    kinds = [{path.kind for path in each.strip.paths} for each in found.grades if each.strip]
    assert [Kind.AWAY in each for each in kinds] == [True, True, False]
    assert "0.1700 in this check; other-build 0.0126" in (
        beyond.strip.label if beyond.strip else ""
    )


@pytest.mark.parametrize("has_shift", [True, False])
def test_the_distance_that_can_be_detected_is_a_limit(
    gate_report: Build, *, has_shift: bool
) -> None:
    """Too few cells have none."""
    grade = GRADES[-1] if has_shift else replace(GRADES[-1], cells=3, detectable_shift=None)
    found = grades_of(gate_report(grades=(grade,)))

    assert found is not None
    (strip,) = [each.strip for each in found.grades]
    assert strip is not None
    assert (Kind.LIMIT in {path.kind for path in strip.paths}) == has_shift


def test_without_a_recorded_change_nothing_is_drawn(gate_report: Build) -> None:
    """A distance alone shows nothing."""
    grade = Grade(
        suite="embedded",
        model="m",
        reason=GradeReason.NO_REFERENCE,
        cells=1,
        tokens=4,
        distance=0.1,
    )

    found = grades_of(gate_report(grades=(grade,)))

    assert found is not None
    assert found.grades[0].strip is None
    assert grades_of(gate_report()) is None


def test_controls_have_an_outcome_each() -> None:
    """One that could not be run is neither a pass nor a finding."""
    lost = Inconclusive(reason="the engine died", remedy="free some memory")
    usual = report_of()
    report = replace(usual, controls=(*usual.controls, control_of(cell_of("moon"), problem=lost)))

    found = controls_of(report)

    assert found is not None
    outcomes = [outcome for outcome, _, _ in found.rows]
    assert outcomes == [Outcome.PASSED, Outcome.FAILED, Outcome.INCONCLUSIVE]


def test_a_check_without_a_control_cannot_fail() -> None:
    """The page states that."""
    found = controls_of(replace(report_of(), controls=()))

    assert found is not None
    assert found.sentence.startswith("No control was run")
    assert found.rows == ()


def test_a_check_of_hosted_models_alone_has_its_controls_elsewhere(gate_report: Build) -> None:
    """They are beside their suite."""
    assert controls_of(gate_report()) is None
