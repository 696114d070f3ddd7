"""The sentences on a check as a whole."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.report import CellReport, GateReport, Timing
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Divergence, Generation, Place, Token
from repro_gate.core.tokens.grade import FailingDrift, GradeWord
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Match
from repro_gate.reports.findings import summary
from tests.fakes.values import control_of
from tests.reports.conftest import graded_report_of

Found = Callable[..., CellReport]
Build = Callable[..., GateReport]
LOST = Inconclusive(reason="no device", remedy=None)
DEAD = control_of()


def test_passed_check_in_one_line(gate_report: Build, cell_report: Found) -> None:
    """A pass shows how much was measured, and the time."""
    report = gate_report(cell_report(Match()))

    assert summary.render_summary(report) == "passed: 1 match; wall 12.500 s, engine 10.000 s"


def test_check_of_nothing_in_one_line(gate_report: Build) -> None:
    """The line shows that nothing was checked."""
    assert summary.render_summary(gate_report(interrupted=True)) == (
        "inconclusive (partial): nothing was checked; wall 12.500 s, engine 10.000 s"
    )


def test_failed_control_in_one_line(gate_report: Build, cell_report: Found) -> None:
    """Without it a failed check would look like a pass."""
    report = gate_report(cell_report(Match()), controls=(DEAD,))

    assert summary.render_summary(report) == (
        "failed: 1 match; 1 of 1 control showed no difference; wall 12.500 s, engine 10.000 s"
    )


def test_outcome_of_a_pass(gate_report: Build, cell_report: Found) -> None:
    """A pass rests on every cell."""
    report = gate_report(cell_report(Match()))

    assert summary.explain_outcome(report) == "1 cell measured, and all match"


def test_outcome_of_everything_wrong(rich_report: GateReport) -> None:
    """Every failure is listed."""
    assert summary.explain_outcome(rich_report) == (
        "7 of 10 cells with a finding; 2 orphaned goldens; "
        "1 of 2 controls showed no difference; 2 of 10 cells not measured"
    )


def test_outcome_of_an_interruption_before_the_first_run(gate_report: Build) -> None:
    """A check without measurements never passes."""
    assert summary.explain_outcome(gate_report(interrupted=True)) == (
        "interrupted; nothing was measured"
    )


@pytest.mark.parametrize(
    ("runs", "words"),
    [((10, 10), "2 cells x 10 runs"), ((1,), "1 cell x 1 run"), ((10, 4), "2 cells, 14 runs")],
)
def test_runs_are_counted(runs: tuple[int, ...], words: str, cell_report: Found) -> None:
    """A product is shown only if all cells have the same number of runs."""
    assert summary.format_runs([cell_report(Match(), runs=count) for count in runs]) == words


def test_agreement_of_a_pass(cell_report: Found) -> None:
    """Identical runs and matching goldens are two claims."""
    assert summary.format_agreement([cell_report(Match())]) == "all identical, all match"


def test_repetition_of_single_runs(cell_report: Found) -> None:
    """A single run cannot be identical to another."""
    assert summary.format_agreement([cell_report(Match(), runs=1)]) == "none repeated, all match"


def test_agreement_with_a_differing_run(
    cell_report: Found,
    differing_run: Found,
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
) -> None:
    """A cell with differing runs, or without runs, is not identical."""
    differs = differing_run(cell(), generation("a"), generation("b"))
    cells = [cell_report(Match()), differs, cell_report(LOST, runs=0, generation=None)]

    assert summary.format_agreement(cells) == (
        "1 of 3 identical, 1 match, 1 nondeterministic, 1 inconclusive"
    )


def test_missing_controls_are_reported(gate_report: Build) -> None:
    """A check without controls does not look as if it had some."""
    assert summary.format_controls(gate_report()) == "no control was run"


def test_controls_that_differ_are_counted(gate_report: Build) -> None:
    """Controls that passed are reported too."""
    differs = Divergence(place=Place.OUTPUT, position=0, expected=None, observed=Token(1, b"a"))

    assert summary.format_controls(gate_report(controls=(replace(DEAD, divergence=differs),))) == (
        "1 control, all differ"
    )


@pytest.mark.parametrize(("wall_s", "words"), [(8.0, "0.25"), (0.0, "not known")])
def test_ratio_of_the_times(wall_s: float, words: str) -> None:
    """The ratio to a wall time of 0 is not known."""
    timing = Timing(wall_s=wall_s, load_s=0, engine_s=2.0, generated_tokens=1)

    assert summary.format_ratio(timing) == words


def test_a_pass_names_the_drift_that_its_suites_let_pass() -> None:
    """Not everything matched."""
    report = graded_report_of(FailingDrift.BEYOND_ROUNDING, GradeWord.CONSISTENT)

    drifts = report.counts[Drift.word]
    assert summary.explain_outcome(report) == (
        f"{len(report.cells)} cells measured; {drifts} drifted, consistent with rounding, which "
        "their suites let pass"
    )
