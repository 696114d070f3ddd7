"""What a tolerance promises, held against scipy and against counting by hand."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from repro_gate.core.logprobs.error_rates import (
    CELLS_SHARE,
    CONTROLS_SHARE,
    CORRECTION,
    FIRST_WAVE,
    MAX_LABELINGS,
    MIN_SIZE_SHARE,
    MIN_WEIGHTS,
    OUTLIERS_SHARE,
    SCREEN,
    SUITE_SHARE,
    TESTS,
    WEIGHTS_RATE,
    WHOLE_SAMPLES,
    cell_level,
    control_level,
    has_power,
    max_noise,
    max_outliers,
    outlier_alarm_rate,
    smallest_control_p,
    smallest_p,
    student_tail,
    sufficient_draws,
    suite_level,
    weights_doubt,
)
from repro_gate.core.logprobs.policy import Tolerance

USUAL = Tolerance()
_CANNOT_FAIL = (
    "the A/A control cannot fail: with 5 items its smallest p-value is 0.0041, not at most 0.001; "
    "take more draws or more items"
)


def test_the_shares_are_all_of_the_rate() -> None:
    """By the union bound the parts together keep the rate that is stated for the whole."""
    shares = CELLS_SHARE + SUITE_SHARE + OUTLIERS_SHARE + CONTROLS_SHARE

    assert math.isclose(shares, 1.0)


@pytest.mark.parametrize(
    ("calibration", "new", "smallest"),
    [(1, 1, 1.0), (10, 5, 1 / 3003), (5, 5, 2 / 252), (10, 10, 2 / 184_756), (10, 2, 1 / 66)],
)
def test_a_p_value_is_a_share_of_the_labelings(calibration: int, new: int, smallest: float) -> None:
    """Equal samples can be exchanged whole, so their most extreme labelings come in pairs."""
    assert smallest_p(calibration, new) == smallest


def test_a_sample_of_labelings_has_a_smallest_p_value_of_its_own() -> None:
    """With more labelings than are ever tried, the observed one is one among those tried."""
    assert smallest_p(100, 100) == 1 / (MAX_LABELINGS + 1)


def test_levels_are_shared_among_cells_and_statistics() -> None:
    """The first cell by Holm gets a part for each cell, and the whole one for each statistic."""
    assert cell_level(USUAL, 4) == CELLS_SHARE * 0.01 / 4
    assert suite_level(USUAL) == SUITE_SHARE * 0.01 / TESTS


@given(st.integers(2, 30), st.integers(1, 12), st.integers(1, 300))
def test_a_cell_has_power_where_both_looks_have(calibration: int, draws: int, cells: int) -> None:
    """Both looks together must be able to reach the level, and the first one the screen."""
    tolerance = Tolerance(calibration_draws=calibration, draws=draws)
    both_looks = CORRECTION * smallest_p(calibration, 2 * draws) <= cell_level(tolerance, cells)

    assert has_power(tolerance, cells) == (both_looks and smallest_p(calibration, draws) <= SCREEN)


@given(st.integers(2, 30), st.integers(1, 3000), st.sampled_from([0.001, 0.01, 0.1]))
def test_sufficient_draws_are_the_fewest(calibration: int, cells: int, rate: float) -> None:
    """With so many a cell can alarm, with one less it cannot."""
    tolerance = Tolerance(calibration_draws=calibration, false_alarm_rate=rate)
    enough = sufficient_draws(tolerance, cells)

    if enough is None:
        assert not has_power(replace(tolerance, draws=100), cells)
    else:
        assert has_power(replace(tolerance, draws=enough), cells)
        assert enough == FIRST_WAVE or not has_power(replace(tolerance, draws=enough - 1), cells)


def test_no_number_of_draws_suffices_for_too_many_cells() -> None:
    """The labelings that are tried are the limit, not the draws."""
    most = int(cell_level(USUAL, 1) * (MAX_LABELINGS + 1) / CORRECTION)

    assert sufficient_draws(USUAL, most) is not None
    assert sufficient_draws(USUAL, most + 1) is None


@pytest.mark.parametrize("cells", [*range(1, 130, 3), 1000])
def test_the_usual_tolerance_keeps_its_promise(cells: int) -> None:
    """Outliers of a service that has not changed are a finding no more often than they may."""
    assert outlier_alarm_rate(USUAL, cells) <= OUTLIERS_SHARE * USUAL.false_alarm_rate


@pytest.mark.parametrize(
    ("draws", "most"), [(1, 1), (2, 2), (4, 2), (7, 3), (8, 3), (20, 5), (60, 9), (600, 48)]
)
def test_single_outliers_are_no_finding_of_a_small_suite(draws: int, most: int) -> None:
    """One of seven draws comes by chance where one of twenty may be; more than half never do."""
    assert max_outliers(USUAL, draws) == most
    assert draws < 8 or most < draws / 2


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0.001, 0.5))
def test_so_many_outliers_come_by_chance_as_seldom_as_stated(
    draws: int, share: float, rate: float
) -> None:
    """Of a service with the largest share that is allowed; with one less it would be too often."""
    tolerance = replace(USUAL, max_outlier_rate=share, false_alarm_rate=rate)
    most = max_outliers(tolerance, draws)
    level = OUTLIERS_SHARE * rate

    assert stats.binom.sf(most, draws, share) <= level + 1e-9
    assert most <= share * draws or stats.binom.sf(most - 1, draws, share) >= level - 1e-9


@pytest.mark.parametrize(
    ("items", "control", "doubt"),
    [
        (MIN_WEIGHTS, None, None),
        (MIN_WEIGHTS - 1, None, "50 items are too few, at least 51 are needed"),
        (5, [(5, 5)] * 5, None),
        (3, [(5, 5)] * 3, None),
        (1, [(9, 9)], "the A/A control needs at least 3 items, and there is 1"),
        (2, [(5, 5)] * 2, "the A/A control needs at least 3 items, and there are 2"),
        (
            5,
            [(2, 2)] * 5,
            _CANNOT_FAIL,
        ),
    ],
)
def test_what_too_few_items_cannot_show(
    items: int, control: list[tuple[int, int]] | None, doubt: str | None
) -> None:
    """Weights need enough of them, and a control enough draws to be able to fail."""
    assert weights_doubt(items, control=control, level=control_level(USUAL, 1)) == doubt


def test_fewer_items_could_all_miss_the_weight() -> None:
    """Of usable weights nine in ten may be 0, and so many items hit none of the rest too often."""
    assert (1 - MIN_SIZE_SHARE) ** MIN_WEIGHTS <= WEIGHTS_RATE / 2
    assert (1 - MIN_SIZE_SHARE) ** (MIN_WEIGHTS - 1) > WEIGHTS_RATE / 2


def test_clones_share_the_part_of_the_controls() -> None:
    """And a sample of divisions has a smallest p-value of its own."""
    assert control_level(USUAL, 2) == control_level(USUAL, 0) / 2
    assert smallest_control_p([(10, 10)] * 9) == 1 / (WHOLE_SAMPLES + 1)


@pytest.mark.parametrize("cells", [1, 3, 60])
@pytest.mark.parametrize("factor", [1.0, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_outliers_are_a_binomial_of_student_tails(cells: int, factor: float, share: float) -> None:
    """The rate is that of the worse of the two moments at which draws are counted."""
    tolerance = replace(USUAL, outlier_factor=factor, max_outlier_rate=share)
    each = 2 * stats.t.sf(factor / math.sqrt(1.1), 4)
    rates = [
        stats.binom.sf(max_outliers(tolerance, cells * draws), cells * draws, each)
        for draws in (2, 5)
    ]

    assert outlier_alarm_rate(tolerance, cells) == pytest.approx(max(rates), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("factor", "share", "rate"), [(0.1, 1.0, 0.0), (1e-300, 0.05, 1.0), (1e300, 0.05, 0.0)]
)
def test_the_edges_of_the_outlier_rule(factor: float, share: float, rate: float) -> None:
    """More than all draws is never, and a rule that every draw breaks is always."""
    tolerance = replace(USUAL, outlier_factor=factor, max_outlier_rate=share)

    assert outlier_alarm_rate(tolerance, 7) == rate


@given(st.floats(0, 1000), st.integers(1, 500))
def test_the_tail_of_student_is_that_of_scipy(t: float, degrees: int) -> None:
    """The finite series gives what scipy computes otherwise."""
    expected = 2 * stats.t.sf(t, degrees)

    assert student_tail(t, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize(("items", "bar"), [(3, 2.22), (5, 1.98), (10, 1.71), (51, 1.25)])
def test_what_noise_explains_shrinks_with_the_items(items: int, bar: float) -> None:
    """The documented figures: the mean square and four standard errors."""
    assert max_noise(items) == pytest.approx(bar, abs=0.005)
    assert max_noise(150) == pytest.approx(1.05, abs=0.006)
    assert max_noise(10**9) == pytest.approx(math.sqrt(0.2 * 1.56**2), abs=1e-3)
