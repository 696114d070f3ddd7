"""Plots of draws, as they are shown in a log."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.logprobs.report import LogprobCellReport
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Shifted
from repro_gate.reports.findings.logprob_evidence import WIDTH, plot
from tests.fakes.logprob_reports import (
    deciding_of,
    effect_of,
    logprob_cell_report_of,
    outlier_of,
    token_of,
)

CELL = logprob_cell_report_of(Agrees(equivalence=Equivalence.NOT_SHOWN))
sums = st.floats(max_value=0, allow_nan=False, allow_infinity=False)
bands = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


def test_plot_of_a_shift() -> None:
    """Baseline, draws and band share one axis."""
    assert plot(replace(CELL, totals=(-43.25, -43.25, -43.5, -43.25, -43.25))) == (
        "baseline                        o           8          o",
        "here      o     4",
        "allowed                         [-----------|----------]",
        "nats      -43.5000 ............................ -41.5000",
    )


def test_plot_with_the_outlier_of_the_finding() -> None:
    """Outliers have a line of their own, and stretch the axis."""
    assert plot(replace(CELL, outliers=(outlier_of(),))) == (
        "baseline                                               10",
        "here                                                   5",
        "outliers  o",
        "allowed                                                |",
        "nats      -156.5000 ........................... -41.5000",
    )


def test_plot_of_identical_draws() -> None:
    """Identical draws are one count in the middle."""
    same = replace(CELL, band=0.0, calibration=(-42.0,) * 10, totals=(-42.0,))

    assert plot(same) == (
        "baseline                         10",
        "here                             o",
        "allowed                          |",
        "nats                      -42.0000",
    )


def test_counts_never_run_into_each_other() -> None:
    """Neighbouring draws are merged into one count."""
    close = tuple(-42.0 + number / 50 for number in range(12))

    baseline = plot(replace(CELL, calibration=close))[0]

    assert baseline == "baseline                        2 2 2 2 2 2"


def test_the_deciding_token_is_plotted() -> None:
    """The plot has its draws and its band, as the sum does not show why the cell drifted."""
    effect = effect_of(shift=0.0, deciding=deciding_of(token_of(shift=-0.25)))

    assert plot(logprob_cell_report_of(Shifted(effect=effect, provenance=()))) == (
        "baseline                                  10",
        "here      10",
        "allowed                      [------------|------------]",
        "nats      -0.7500 .............................. -0.4000",
    )


def test_a_cell_without_draws_has_an_empty_line() -> None:
    """The baseline is plotted all the same."""
    assert plot(replace(CELL, totals=()))[1] == "here"


@pytest.mark.parametrize("cell", [replace(CELL, center=None), replace(CELL, band=None)])
def test_no_baseline_is_no_plot(cell: LogprobCellReport) -> None:
    """There is nothing to compare with."""
    assert plot(cell) == ()


@given(
    calibration=st.lists(sums, min_size=1, max_size=30),
    totals=st.lists(sums, max_size=30),
    band=bands,
)
def test_plot_keeps_its_width_and_its_draws(
    calibration: list[float], totals: list[float], band: float
) -> None:
    """For any numbers, lines have at most the stated width and no draw is lost."""
    cell = replace(
        CELL, center=calibration[0], band=band, calibration=tuple(calibration), totals=tuple(totals)
    )
    baseline, here, allowed, nats = plot(cell)

    assert max(map(len, (baseline, here, allowed, nats))) <= WIDTH
    assert allowed.count("|") == 1
    assert [_drawn(baseline), _drawn(here)] == [len(calibration), len(totals)]


def _drawn(row: str) -> int:
    return sum(1 if mark == "o" else int(mark) for mark in row.split()[1:])
