"""The rivals of the logprob gate are what they are called."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.power_tables import Point, losses, thresholds
from benchmarks.rival_tests import (
    EQUAL_CELL,
    EQUAL_SUITE,
    LT_CELL,
    RIVALS,
    SDS,
    Samples,
    is_beyond_three_sds,
    statistics_of,
    tracking_alarms,
)
from benchmarks.simulated_matrices import Ours, Result
from repro_gate.statistics.permutation import Floats

_FIRSTS = -np.arange(1.0, 9.0)
"""Log-probabilities of what could come first."""
_QUIET = Ours(
    cell_drift=False,
    whole_drift=False,
    outlier=False,
    note=False,
    second_look=False,
    refused=0,
    calls=300,
    saved=0,
)


def _samples(before: Floats, after: Floats) -> Samples:
    """Return a suite of one cell."""
    return Samples(before=before[np.newaxis], after=after[np.newaxis])


def _repeated(values: Floats, count: int = 10) -> Floats:
    return np.tile(values, (count, 1))


def _statistics(responses: Samples, first_after: Floats = _FIRSTS) -> dict[str, float]:
    firsts = _samples(_repeated(_FIRSTS), _repeated(first_after))
    return dict(statistics_of(responses, firsts))


def test_a_token_out_of_the_likeliest_is_censored() -> None:
    """It counts as the least likely one that was returned in the same draw."""
    after = _FIRSTS.copy()
    after[4], after[7] = -9.0, -4.5
    found = _statistics(_samples(np.zeros((10, 2)), np.zeros((10, 2))), after)

    # Of the six that were ever returned, these two count as -5 before and as -4.5 after.
    assert found[LT_CELL] == pytest.approx((0.5 + 0.5) / 6)


def test_the_mean_is_measured_in_standard_deviations() -> None:
    """Of the calibration, and of the sum."""
    before = np.array([[-1.0, -1.0], [-2.0, -2.0], [-3.0, -3.0]])
    found = _statistics(_samples(before, before - 3.0))

    assert found[SDS] == pytest.approx(6 / 2)


def test_calibration_draws_that_all_repeat_have_no_standard_deviation() -> None:
    """Whatever is new is then infinitely far off, and what repeats is not off at all."""
    before = np.full((10, 2), -1.0)
    moved = _samples(before, before - 0.01)

    assert _statistics(moved)[SDS] == math.inf
    assert is_beyond_three_sds(moved)
    assert _statistics(_samples(before, before))[SDS] == 0.0
    assert not is_beyond_three_sds(_samples(before, before))


def test_draws_that_repeat_nothing_are_counted() -> None:
    """In the cell, and in the suite."""
    before = np.full((10, 2), -1.0)
    after = before.copy()
    after[:3] -= 0.01
    found = _statistics(_samples(before, after))

    assert found[EQUAL_CELL] == found[EQUAL_SUITE] == 3.0


def test_the_logprob_test_rejects_what_no_permutation_attains() -> None:
    """Its p-value may be 0; without a change it is 1."""
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.1, (10, 8))
    changed = _samples(_FIRSTS + noise, _FIRSTS - 5 + noise)
    same = _samples(_repeated(_FIRSTS), _repeated(_FIRSTS))

    assert tracking_alarms(changed, generator, level=0.01)
    assert not tracking_alarms(same, generator, level=0.01)


def test_a_threshold_is_exceeded_in_one_matrix_of_a_hundred() -> None:
    """And where the largest that can be is usual, there is none."""
    usual = dict.fromkeys(RIVALS, 0.0) | {EQUAL_CELL: 10.0, SDS: math.inf}
    null = [
        Result(ours=_QUIET, statistics=usual | {LT_CELL: float(number)}, stated={})
        for number in range(200)
    ]
    found = thresholds(null)

    assert found[LT_CELL] == 197.0
    assert found[EQUAL_CELL] is None
    assert found[SDS] is None


def test_a_rival_that_detects_more_is_named_only_beyond_chance() -> None:
    """Nothing is hidden, and a difference by chance is none."""
    detected: dict[str, int | None] = dict.fromkeys(RIVALS, 50)
    detected |= {"finding": 20, "seen": 45, SDS: None}
    point = Point(label="a change", matrices=100, detected=detected, calls=300.0)

    assert list(losses([point])) == ["- a change: finding 20%, below equal: suite at 50%"]
    assert not list(losses([replace(point, detected=detected | {"finding": 45})]))
