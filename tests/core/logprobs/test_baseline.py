"""The noise of calibration draws, and its outliers."""

import math
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from repro_gate.core.logprobs.baseline import (
    RESOLUTION_NATS,
    Noise,
    deviations,
    differs_beyond_noise,
    fit_noise,
    is_same,
    outliers,
)
from repro_gate.core.logprobs.draw import Draw
from tests.fakes.scoring import baseline_of, suite_of_logprobs

USUAL = (-40.8, -41.5, -42.0, -42.7, -43.5)
"""Five draws of one response by a hosted model, as they came."""
ANOMALY = -156.5
"""And what the same call gave once."""
FACTOR = 20.0
sums = st.lists(st.floats(-1000, 0), min_size=1, max_size=30)


def draws_of(totals: Sequence[float]) -> list[Draw]:
    """Return draws of one token."""
    return [Draw(logprobs=(total,)) for total in totals]


def noise_of(totals: Sequence[float], others: Sequence[float] = ()) -> Noise:
    """Return the noise of draws of one token."""
    return fit_noise([(total,) for total in totals], others=others)


def test_the_anomaly_is_caught_and_the_others_are_not() -> None:
    """Of -40.8 to -43.5 and one -156.5, in any order, the -156.5 is the outlier."""
    for place in range(6):
        totals = [*USUAL[:place], ANOMALY, *USUAL[place:]]

        assert outliers(draws_of(totals), noise_of(USUAL), factor=FACTOR) == (place,)
        assert outliers(draws_of(totals), noise_of(totals), factor=FACTOR) == (place,)


def test_the_mean_and_three_standard_deviations_would_miss_it() -> None:
    """One value of six is never further from their mean than 2.05 of their own deviations."""
    totals = [*USUAL, ANOMALY]
    far = abs(ANOMALY - statistics.mean(totals)) / statistics.stdev(totals)

    assert far < 3


def test_without_it_the_weight_between_base_and_clone_is_small() -> None:
    """The base is at its median, and the clone is 1.7 nats from it, not 116."""
    noise = noise_of(USUAL)

    assert math.exp(-40.3 - noise.center) == pytest.approx(math.exp(1.7))


def test_a_whole_that_has_moved_has_no_outliers() -> None:
    """Where most draws are far away the service has changed, and redrawing would hide it."""
    noise = noise_of(USUAL)

    assert outliers(draws_of([-150.0, -150.0, -42.0]), noise, factor=FACTOR) == ()
    assert outliers(draws_of([-150.0, -42.0]), noise, factor=FACTOR) == (0,)
    assert outliers([], noise, factor=FACTOR) == ()


def test_an_outlier_may_be_too_likely_as_well() -> None:
    """Both directions count."""
    assert outliers(draws_of([-42.0, -42.0, -1.0]), noise_of(USUAL), factor=FACTOR) == (2,)


@pytest.mark.parametrize(
    ("others", "floor"), [([], 8.0), ([0.0] * 99, 8.0), ([0.0] * 100, 1.0), ([1e-4] * 100, 1.0)]
)
@pytest.mark.parametrize(("off", "found"), [(0.99, ()), (1.01, (1,))])
def test_a_service_that_repeats_itself_has_a_floor(
    others: list[float], floor: float, off: float, found: tuple[int, ...]
) -> None:
    """With a MAD of 0 every other draw would be an outlier; a low floor has to be earned."""
    noise = noise_of([-42.0] * 10, others)
    off *= floor

    assert (noise.scale, noise.floor, noise.outlier_bound(FACTOR)) == (0.0, floor, floor)
    assert outliers(draws_of([-42.0, -42.0 - off]), noise, factor=FACTOR) == found


def test_the_floor_comes_from_the_other_cells_of_the_policy() -> None:
    """What is usual in 97.5 % of their draws, four times over, is no outlier here."""
    others = [100.0, 0.5, 3.0, 4.0, 2.0] + [0.0] * 95

    assert noise_of([-42.0] * 10, others).floor == 4 * 3.0
    assert noise_of([-42.0] * 10, [0.1] * 100).floor == 8.0


def test_the_larger_of_scale_and_floor_decides() -> None:
    """A noisy cell has its own bound."""
    assert Noise(center=-1, scale=0.5, deviation=0, atom=1, floor=2).outlier_bound(20) == 10
    assert Noise(center=-1, scale=0.05, deviation=0, atom=1, floor=2).outlier_bound(20) == 2


@given(sums)
def test_the_noise_is_what_scipy_computes(totals: list[float]) -> None:
    """Median, scaled MAD and standard deviation, with n - 1 where there are two."""
    noise = noise_of(totals)
    deviation = np.std(totals, ddof=1) if len(totals) > 1 else 0.0
    scale = stats.median_abs_deviation(totals, scale="normal")

    assert noise.center == pytest.approx(np.median(totals))
    assert noise.scale == pytest.approx(scale, rel=1e-4, abs=1e-9)
    assert noise.deviation == pytest.approx(deviation, rel=1e-6, abs=1e-6)


@given(sums)
def test_deviations_are_distances_from_the_median(totals: list[float]) -> None:
    """None is negative, and half of them are at most the MAD."""
    assert deviations(totals) == [abs(total - statistics.median(totals)) for total in totals]


def test_the_atom_is_the_largest_share_of_equal_draws() -> None:
    """Draws are equal token by token; equal sums are not enough."""
    draws = [(-1.0, -2.0), (-2.0, -1.0), (-1.0, -2.0 - RESOLUTION_NATS / 2), (-1.0, -2.5)]

    assert fit_noise(draws).atom == 0.5


def test_two_draws_are_the_same_within_what_an_api_rounds() -> None:
    """The last digits of a number that was sent as text are not a change."""
    assert is_same((-1.0, -2.0), (-1.0 + 0.9e-5, -2.0))
    assert not is_same((-1.0, -2.0), (-1.0, -2.0 + 1.1e-5))


def test_a_baseline_knows_its_sums() -> None:
    """They are exact whatever the order of the tokens."""
    cell = suite_of_logprobs().cells[0]

    assert baseline_of(cell, [(-0.1,) * 10, (-1.0,) * 10]).totals == (-1.0, -10.0)


@pytest.mark.parametrize(
    ("draw", "apart"),
    [((-1.0, -2.0), False), ((-1.0, -2.3), False), ((-1.0, -2.4), True), ((-1.2, -2.2), True)],
)
def test_a_draw_differs_when_it_is_farther_than_all_others(
    draw: tuple[float, float], *, apart: bool
) -> None:
    """Half as far again from the medians than the furthest of the recorded ones."""
    recorded = [(-1.0, -2.0), (-1.0, -2.0), (-1.0, -2.25)]

    assert differs_beyond_noise(draw, recorded) is apart


def test_any_difference_from_identical_draws_counts() -> None:
    """What is below the last digit that counts is none."""
    recorded = [(-1.0, -2.0)] * 3

    assert differs_beyond_noise((-1.0, -2.001), recorded)
    assert not differs_beyond_noise((-1.0, -2.000001), recorded)


def test_more_of_the_same_noise_does_not_stand_apart() -> None:
    """A control that noise alone could pass would show nothing."""
    generator = np.random.default_rng(3)
    recorded = generator.normal(-2.0, 0.25, (10, 40)).tolist()
    draws = generator.normal(-2.0, 0.25, (200, 40)).tolist()

    assert sum(differs_beyond_noise(draw, recorded) for draw in draws) <= 2
