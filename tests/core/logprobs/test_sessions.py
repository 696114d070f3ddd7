"""The time of a session, and what divides the draws of a baseline."""

from datetime import UTC, datetime

import pytest

from repro_gate.core.logprobs.sessions import (
    MAX_CALIBRATION_DRAWS,
    CalibrationSession,
    SessionTotals,
    require_sessions,
    time_of,
)

LATE = "2026-12-31T00:00:00+00:00"


def sessions_of(*draws: int) -> tuple[CalibrationSession, ...]:
    """Return sessions on the first days of a month."""
    return tuple(
        CalibrationSession(started_at=f"2026-01-{day:02}T12:00:00+00:00", draws=each)
        for day, each in enumerate(draws, start=1)
    )


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05", "2026-01-02T05:04:05+02:00"])
def test_a_time_without_an_offset_is_in_utc(text: str) -> None:
    """Times of different offsets can be compared."""
    assert time_of(text) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_file_is_bounded() -> None:
    """It cannot have more draws in several sessions than a test of them could take."""
    most = MAX_CALIBRATION_DRAWS
    require_sessions(sessions_of(most - 10, 10), draws=most, until=LATE)

    with pytest.raises(ValueError, match="at most 200 draws, not 201"):
        require_sessions(sessions_of(most - 10, 11), draws=most + 1, until=LATE)


def test_the_sizes_of_sessions_are_in_their_order() -> None:
    """They divide the sums."""
    found = SessionTotals(sessions=sessions_of(2, 1), totals=(-1.0, -2.0, -3.0))

    assert found.sizes == (2, 1)
