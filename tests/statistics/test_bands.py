"""Bands and bounds, against tables and statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from repro_gate.statistics.bands import (
    bands,
    difference_bound,
    mean_bound,
    shifts,
    tolerance_factor,
)

sizes = st.integers(2, 12)
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("calibration", "factor"), [(5, 6.69), (10, 4.44), (20, 3.62), (30, 3.35), (50, 3.13)]
)
def test_the_factor_is_the_tabulated_one(calibration: int, factor: float) -> None:
    """For one new draw, 99 % of them, with 95 % confidence; Howe is off by less than 2 %."""
    assert tolerance_factor(calibration, 1) == pytest.approx(factor, rel=0.02)


def test_the_factor_holds_what_it_says() -> None:
    """In 95 % of calibrations at least 99 % of the means of later draws are inside, by simulation.

    The bound is five standard errors below.
    """
    generator, trials, new = np.random.default_rng(3), 20_000, 5
    samples = generator.normal(0, 1, (trials, 10))
    center, spread = samples.mean(axis=1), samples.std(axis=1, ddof=1)
    reach = tolerance_factor(10, new) * spread
    coverage = [
        0.5 * (math.erf(high) - math.erf(low))
        for low, high in zip(
            (center - reach) * math.sqrt(new / 2),
            (center + reach) * math.sqrt(new / 2),
            strict=True,
        )
    ]
    share = np.mean(np.array(coverage) >= 0.99)

    assert share >= 0.95 - 0.005 - 5 * math.sqrt(0.05 * 0.95 / trials)


def test_more_draws_make_the_band_narrower() -> None:
    """Of calibration draws as of new ones."""
    factors = [tolerance_factor(n, k) for n, k in ((5, 1), (10, 1), (10, 5), (10, 10), (30, 10))]

    assert factors == sorted(factors, reverse=True)


def test_bands_are_the_factor_of_the_mad_or_the_floor() -> None:
    """Sum first, then each token; a token that repeats has the floor."""
    calibration = np.array([[-1.0, -2.0 - step] for step in range(10)])
    scale = 1.4826 * 2.5

    assert bands(calibration, 5, floor=0.1).tolist() == pytest.approx(
        [tolerance_factor(10, 5) * scale, 0.1, tolerance_factor(10, 5) * scale]
    )


def test_shifts_are_those_of_the_medians() -> None:
    """One draw that is far away moves no median."""
    calibration = np.array([[-1.0, -2.0]] * 9 + [[-90.0, -90.0]])
    new = np.array([[-1.5, -2.0]] * 4 + [[-70.0, -70.0]])

    assert shifts(calibration, new).tolist() == [-0.5, -0.5, 0.0]


@given(seeds, sizes, sizes, st.floats(-2, 2))
def test_the_bound_is_where_two_one_sided_tests_begin_to_reject(
    seed: int, calibration: int, new: int, shift: float
) -> None:
    """At +- d the p-value of Welch's TOST is 5 %."""
    generator = np.random.default_rng(seed)
    before = generator.normal(0, 1, calibration)
    after = generator.normal(shift, 2, new)
    bound = difference_bound(before, after)

    p_value, *_ = ttost_ind(after, before, -bound, bound, usevar="unequal")
    assert p_value == pytest.approx(0.05, rel=1e-6)


@given(seeds, sizes)
def test_the_bound_of_a_mean_is_where_the_paired_tests_begin_to_reject(
    seed: int, count: int
) -> None:
    """At +- d the p-value of the paired TOST is 5 %."""
    differences = np.random.default_rng(seed).normal(0.3, 1, count)
    bound = mean_bound(differences)

    p_value, *_ = ttost_paired(differences, np.zeros(count), -bound, bound)
    assert p_value == pytest.approx(0.05, rel=1e-6)


def test_draws_that_repeat_bound_the_difference_exactly() -> None:
    """Without noise the difference of the means is what it is."""
    before, after = np.full(10, -42.0), np.full(5, -42.25)

    assert difference_bound(before, after) == 0.25


def test_a_single_draw_bounds_nothing() -> None:
    """It has no variance, so that nothing can be claimed of it."""
    one, two = np.array([-42.0]), np.array([-42.0, -42.1])

    assert [difference_bound(one, two), difference_bound(two, one)] == [math.inf, math.inf]
    assert [mean_bound(np.array([])), mean_bound(np.array([0.0]))] == [math.inf, math.inf]


def test_a_shift_beyond_the_floor_is_rarely_called_equivalent() -> None:
    """Of 4,000 services that moved by the floor itself at most 5 % are, within five errors."""
    generator, trials, floor = np.random.default_rng(8), 4000, 0.1
    claims = [
        difference_bound(generator.normal(0, 0.05, 10), generator.normal(floor, 0.05, 5)) <= floor
        for _ in range(trials)
    ]

    assert np.mean(claims) <= 0.05 + 5 * math.sqrt(0.05 * 0.95 / trials)
