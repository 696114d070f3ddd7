"""The watch on simulated nights, and the rivals that it is measured against."""

from functools import partial

import numpy as np
import pytest

from benchmarks.night_rivals import (
    B3IT,
    LT_LIVE,
    NIGHTLY,
    PRODUCT,
    RIVALS,
    THREE_SDS,
    permutation_p_values,
)
from benchmarks.simulated_nights import CELLS, CHANGES, DRAWS, NOISES, World, world_of
from benchmarks.watch import (
    alarm_with_fewer_draws,
    alarm_with_missing_nights,
    delay_text,
    is_unknown_with_fewer_draws,
    known_alarm,
    rate_text,
    rival_alarm,
    watch_alarm,
    weak_alarm,
)

_YEARS = 10
"""Of each noise; the program simulates thousands."""
_TABLE = {10: 15, 30: 8, 100: 5}
"""Nights before a change, and nights in which a change of the suite is found."""


@pytest.mark.parametrize("noise", NOISES)
def test_years_without_a_change_are_quiet(noise: str) -> None:
    """More than one alarm in so many years had a chance below 1 % at the stated rate."""
    alarms = [watch_alarm(number, noise=noise) for number in range(_YEARS)]

    assert sum(each is not None for each in alarms) <= 1


@pytest.mark.parametrize("noise", ["atom", "session atom"])
@pytest.mark.parametrize(("quiet", "nights"), _TABLE.items())
@pytest.mark.parametrize("change", [each for each in CHANGES if each[1] in "bcdf"])
def test_an_injected_change_is_found(change: str, quiet: int, nights: int, noise: str) -> None:
    """In the nights of the table: a watch that cannot fail is none."""
    found = watch_alarm(0, noise=noise, quiet=quiet, change=change)

    assert found is not None
    assert found <= nights


def test_a_backend_of_seven_nights_is_missed_early_and_found_later() -> None:
    """After 10 nights no alarm is possible in 7, after 30 one is."""
    alarm = partial(watch_alarm, noise="atom", change="(e) other backend for 7 nights")

    assert alarm(0, quiet=10) is None
    assert alarm(0, quiet=30) == 7


def test_small_changes_under_normal_noise_are_not_found() -> None:
    """And even a rule that knows everything takes weeks."""
    change = "(a) one item -0.3"
    known = known_alarm(0, quiet=30, change=change)

    assert watch_alarm(0, noise="gauss", quiet=30, change=change) is None
    assert known is not None
    assert known > 14


def test_half_a_standard_deviation_is_not_found() -> None:
    """Three are, after 30 nights."""
    assert weak_alarm(0, quiet=30, deviations=0.5) is None
    assert weak_alarm(0, quiet=30, deviations=3.0) is not None


def test_missing_nights_raise_no_alarm() -> None:
    """Where they are missing by chance."""
    assert alarm_with_missing_nights(0, noise="atom") is None


def test_nights_with_fewer_draws_would_alarm_and_are_not_counted() -> None:
    """The median of two draws is not that of five."""
    worlds = range(4)

    assert any(alarm_with_fewer_draws(each, noise="atom") is not None for each in worlds)
    assert is_unknown_with_fewer_draws(0, noise="atom") == 101


@pytest.mark.parametrize(
    ("rule", "noise"),
    [
        (PRODUCT, "session gauss"),
        (NIGHTLY, "gauss"),
        (THREE_SDS, "atom"),
        (LT_LIVE, "session atom"),
        (B3IT, "atom"),
    ],
)
def test_rivals_alarm_without_a_change(rule: str, noise: str) -> None:
    """In at least one of three years."""
    assert any(rival_alarm(number, rule=rule, noise=noise) is not None for number in range(3))


def _constant(*, nights: int, moved_from: int, by: float) -> World:
    """Return a world that repeats itself exactly until it moves."""
    values = np.zeros((nights, CELLS, DRAWS))
    values[moved_from:] = by
    return World(calibration=np.zeros((CELLS, 10)), nights=values)


@pytest.mark.parametrize("rule", [PRODUCT, NIGHTLY, THREE_SDS, LT_LIVE, B3IT])
def test_rivals_are_quiet_where_everything_repeats(rule: str) -> None:
    """And find a large change."""
    changed = RIVALS[rule](_constant(nights=60, moved_from=40, by=5.0))

    assert not changed[:40].any()
    assert changed[40:].any()


def test_a_permutation_p_value_is_exact() -> None:
    """One division of 3,003 is as extreme as a night that is beyond all calibration draws."""
    world = _constant(nights=2, moved_from=1, by=5.0)

    assert permutation_p_values(world)[:, 0] == pytest.approx([1.0, 1 / 3003])


def test_worlds_are_the_same_every_time() -> None:
    """And different from each other."""
    one, again, other = (world_of("gauss", number, nights=3) for number in (1, 1, 2))

    assert np.array_equal(one.nights, again.nights)
    assert not np.array_equal(one.nights, other.nights)


def test_rates_have_exact_intervals() -> None:
    """Clopper-Pearson, also for none."""
    assert rate_text([None] * 2000) == "0.00 % (0.00 to 0.18), 0 of 2000"
    assert rate_text([5, *[None] * 1999]) == "0.05 % (0.00 to 0.28), 1 of 2000"


def test_delays_beyond_the_limit_are_not_found() -> None:
    """The median counts them as later."""
    assert delay_text([3, 5, None], 10) == "5; 67%"
    assert delay_text([3, 50, None], 10) == ">10; 33%"
    assert delay_text([50, None], 10) == "0%"
