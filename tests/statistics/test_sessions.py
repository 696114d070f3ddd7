"""Variance components, the test of whether sessions differ, and the bands of medians."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from repro_gate.core.logprobs.sessions import SessionNoise, SessionTotals
from repro_gate.statistics.permutation import Floats
from repro_gate.statistics.sessions import (
    difference_p,
    floors_of,
    missed_share,
    session_noise,
    shifts_between,
    suite_band,
)
from tests.core.logprobs.test_sessions import sessions_of


def totals_of(*groups: Sequence[float]) -> SessionTotals:
    """Return a cell with the sums of each session."""
    return SessionTotals(
        sessions=sessions_of(*map(len, groups)),
        totals=tuple(each for one in groups for each in one),
    )


def drawn(
    *, sessions: int, draws: int, between: float, seed: int, within: float = 1.0
) -> SessionTotals:
    """Return a cell with normal noise of these standard deviations."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(0, within, (sessions, draws))
    return totals_of(*(noise + generator.normal(0, between, (sessions, 1))).tolist())


def test_one_session_shows_no_difference() -> None:
    """Only its time and its number of draws are known."""
    cells = [totals_of([-1.0, -2.0]), totals_of([-1.0, -2.0, -3.0])]

    start = "2026-01-01T12:00:00+00:00"
    assert session_noise(cells) == SessionNoise(sessions=1, draws=2, first=start, last=start)
    assert session_noise([]) is None


def test_variance_components_are_those_of_the_analysis_of_variance() -> None:
    """Equal sessions: the variance of the means less that of a mean of m draws."""
    cell = totals_of([1.0, 3.0], [5.0, 9.0], [2.0, 2.0])
    means = [2.0, 7.0, 2.0]

    found = session_noise([cell])

    within = (2 + 8 + 0) / 3
    assert found is not None
    assert found.within == pytest.approx(within)
    assert found.between == pytest.approx(np.var(means, ddof=1) - within / 2)


def test_a_negative_variance_between_sessions_is_none() -> None:
    """The estimate is cut off at 0, over the cells as a whole."""
    found = session_noise([totals_of([-1.0, 1.0], [1.0, -1.0])])

    assert found is not None
    assert (found.within, found.between) == (2.0, 0.0)


def test_sessions_of_one_draw_have_no_noise_within() -> None:
    """Nothing can be compared with it."""
    found = session_noise([totals_of([-1.0], [-2.0])])

    assert found is not None
    assert (found.within, found.between, found.missed) == (None, None, None)


def test_the_fewest_sessions_of_a_cell_are_those_of_the_suite() -> None:
    """A claim about the suite has to hold for all of its cells."""
    one, three = totals_of([-1.0, -2.0]), totals_of([0.0, 1.0], [0.0, 1.0], [0.0, 1.0])
    found = session_noise([three, one])

    assert found is not None
    assert (found.sessions, found.p_value, found.within) == (1, None, None)
    assert (found.first, found.last) == (
        "2026-01-01T12:00:00+00:00",
        "2026-01-03T12:00:00+00:00",
    )


def test_unreadable_times_come_last() -> None:
    """Somebody may have recorded with another clock."""
    sessions = sessions_of(1)
    odd = SessionTotals(sessions=(type(sessions[0])(started_at="noon", draws=1),), totals=(0.0,))

    found = session_noise([odd, totals_of([0.0])])

    assert found is not None
    assert (found.first, found.last) == ("2026-01-01T12:00:00+00:00", "noon")


def test_the_test_of_sessions_agrees_with_f() -> None:
    """For one cell its statistic grows with F, so normal noise gives nearly the p-value of F."""
    for seed in range(5):
        cell = drawn(sessions=4, draws=8, between=0.4, seed=seed)
        f = stats.f_oneway(*np.reshape(cell.totals, (4, 8))).pvalue

        assert difference_p([cell]) == pytest.approx(f, abs=0.04)


def test_the_test_of_sessions_keeps_its_level() -> None:
    """Without a difference at most about 5 % of the p-values are at most 5 %: here 400 suites."""
    found = [
        difference_p([drawn(sessions=3, draws=5, between=0, seed=3 * n + k) for k in range(3)])
        for n in range(400)
    ]

    # More than 35 of 400 would happen in less than 0.1 % of cases.
    assert sum(p <= 0.05 for p in found) <= 35


def test_equal_draws_show_no_difference() -> None:
    """A service that repeats itself exactly does so in every session."""
    cell = totals_of([-32.840911] * 3, [-32.840911 + 1e-12] * 3)
    found = session_noise([cell])

    assert found is not None
    assert (found.p_value, found.within, found.between) == (1.0, 0.0, 0.0)


def test_sessions_that_repeat_other_values_differ() -> None:
    """Within each all draws are equal."""
    found = session_noise([totals_of([-1.0] * 10, [-1.0] * 10, [-32.840911] * 10)])

    assert found is not None
    assert (found.within, found.p_value) == (0.0, 0.0005)


@pytest.mark.parametrize(
    ("sessions", "draws", "missed"), [(2, 10, 0.47), (3, 10, 0.26), (5, 10, 0.08), (10, 5, 0.05)]
)
def test_the_power_of_f_is_exact(sessions: int, draws: int, missed: float) -> None:
    """The shares for a variance between sessions as large as that within."""
    assert missed_share(sessions, draws) == pytest.approx(missed, abs=0.006)


def _medians(*values: float) -> Floats:
    """Return draws of two tokens, three a session, with these medians of the first token."""
    return np.array([[value, -1.0] for value in values for _ in range(3)])


def test_fewer_than_five_sessions_have_no_band() -> None:
    """The factor of t would be 11 and more."""
    floors = floors_of(_medians(0, 1, 2, 3), [3] * 4, floor=0.1)

    assert floors.tolist() == [0.1, 0.1, 0.1]


def test_a_band_is_of_the_medians_of_sessions() -> None:
    """The sum and the first token vary between sessions, the second token does not."""
    medians = [0.0, 1.0, 2.0, 3.0, 4.0]
    floors = floors_of(_medians(*medians), [3] * 5, floor=0.1)

    band = stats.t.ppf(0.995, 4) * np.sqrt(1 + 1 / 5) * np.std(medians, ddof=1)
    assert floors == pytest.approx(np.array([band, band, 0.1]))


def test_a_band_is_reported_for_the_cell_in_the_middle() -> None:
    """One cell has none, one a small and one a large band."""
    cells = [totals_of(*[[scale * n] * 3 for n in range(5)]) for scale in (0.0, 0.5, 8.0)]
    found = session_noise(cells)

    assert found is not None
    assert found.band == pytest.approx(0.5 * 5.0435 * np.std(range(5), ddof=1), rel=1e-4)


def test_a_shift_of_a_session_is_from_all_others() -> None:
    """Otherwise a session would pull the center to itself."""
    assert shifts_between(_medians(0, 0, 0, 6, 6), [3] * 5).tolist() == [3.0, 3.0, 3.0, 6.0, 6.0]
    assert shifts_between(_medians(0, 6), [3] * 2).tolist() == []


def test_a_suite_has_a_band_of_typical_shifts() -> None:
    """The last five sessions of each cell are used, and the cell in the middle of each."""
    cells = [np.array([9.0, 1, 2, 3, 4, 5]), np.array([0.0] * 5), np.array([9.0] * 5)]

    found = suite_band(cells)

    typical = [1.0, 2.0, 3.0, 4.0, 5.0]
    factor = stats.t.ppf(0.99, 4) * np.sqrt(1 + 1 / 5)
    assert found == pytest.approx(3 + factor * np.std(typical, ddof=1))
    assert suite_band([np.zeros(4)]) == 0
    assert suite_band([]) == 0
