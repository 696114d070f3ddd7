"""Draws as a plot that stands in a log."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.logprobs.report import LogprobCellReport
from repro_gate.core.logprobs.verdicts import Agrees, Sameness, Shifted
from repro_gate.reports.findings.logprob_evidence import WIDTH, plot
from tests.fakes.logprob_reports import (
    deciding_of,
    effect_of,
    logprob_cell_report_of,
    outlier_of,
    token_of,
)

CELL = logprob_cell_report_of(Agrees(sameness=Sameness.NOT_SHOWN))
sums = st.floats(max_value=0, allow_nan=False, allow_infinity=False)
bands = st.floats(min_value=0, allow_nan=False)


def test_plot_of_a_shift() -> None:
    """Baseline, draws and what is allowed stand above one axis."""
    assert plot(replace(CELL, totals=(-43.25, -43.25, -43.5, -43.25, -43.25))) == (
        "baseline                        o           8          o",
        "here      o     4",
        "allowed                         [-----------|----------]",
        "nats      -43.5000 ............................ -41.5000",
    )


def test_plot_with_the_outlier_of_the_finding() -> None:
    """A draw of -156.5 among draws of -42 has a line of its own, and squeezes the rest."""
    assert plot(replace(CELL, outliers=(outlier_of(),))) == (
        "baseline                                               10",
        "here                                                   5",
        "outliers  o",
        "allowed                                                |",
        "nats      -156.5000 ........................... -41.5000",
    )


def test_plot_of_identical_draws() -> None:
    """Where nothing differs all stands in the middle, as a count."""
    same = replace(CELL, band=0.0, calibration=(-42.0,) * 10, totals=(-42.0,))

    assert plot(same) == (
        "baseline                         10",
        "here                             o",
        "allowed                          |",
        "nats                      -42.0000",
    )


def test_counts_never_run_into_each_other() -> None:
    """Draws side by side are told together rather than read as another number."""
    close = tuple(-42.0 + number / 50 for number in range(12))

    baseline = plot(replace(CELL, calibration=close))[0]

    assert baseline == "baseline                        2 2 2 2 2 2"


def test_a_token_that_decided_is_drawn() -> None:
    """With its own draws and its own band: the sum does not show why the cell drifted."""
    effect = effect_of(shift=0.0, deciding=deciding_of(token_of(shift=-0.25)))

    assert plot(logprob_cell_report_of(Shifted(effect=effect, provenance=()))) == (
        "baseline                                  10",
        "here      10",
        "allowed                      [------------|------------]",
        "nats      -0.7500 .............................. -0.4000",
    )


def test_no_draw_leaves_its_line_empty() -> None:
    """A cell without draws is still compared with its baseline."""
    assert plot(replace(CELL, totals=()))[1] == "here"


@pytest.mark.parametrize("cell", [replace(CELL, center=None), replace(CELL, band=None)])
def test_no_baseline_is_no_plot(cell: LogprobCellReport) -> None:
    """Without something to compare with there is nothing to see."""
    assert plot(cell) == ()


@given(
    calibration=st.lists(sums, min_size=1, max_size=30),
    totals=st.lists(sums, max_size=30),
    band=bands,
)
def test_plot_keeps_its_width_and_its_draws(
    calibration: list[float], totals: list[float], band: float
) -> None:
    """Whatever the numbers are, lines are at most as wide as stated, and no draw is lost."""
    cell = replace(
        CELL, center=calibration[0], band=band, calibration=tuple(calibration), totals=tuple(totals)
    )
    baseline, here, allowed, nats = plot(cell)

    assert max(map(len, (baseline, here, allowed, nats))) <= WIDTH
    assert allowed.count("|") == 1
    assert [_drawn(baseline), _drawn(here)] == [len(calibration), len(totals)]


def _drawn(row: str) -> int:
    return sum(1 if mark == "o" else int(mark) for mark in row.split()[1:])
