"""Calibration over sessions: when draws are of another session, and how sessions differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from repro_gate.core.guards import require_at_least

MIN_DISTANCE: Final = timedelta(hours=1)
"""Between two sessions; draws closer together probably meet the same replicas."""
MAX_CALIBRATION_DRAWS: Final = 200
"""Of a baseline of several sessions, which bounds its file and the time of a test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSession:
    """Calibration draws of a baseline that were made in one go."""

    started_at: str
    """ISO 8601, UTC."""
    draws: int

    def __post_init__(self) -> None:
        require_at_least(1, draws=self.draws)


def time_of(text: str) -> datetime:
    """Return a time from its text, ISO 8601; raises ValueError.

    Where the text has no offset it is in UTC.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def require_sessions(sessions: Sequence[CalibrationSession], *, draws: int, until: str) -> None:
    """Raise ValueError unless these sessions of a baseline account for its draws, in order.

    Args:
        sessions: two or more.
        draws: of the baseline.
        until: when the baseline was recorded.
    """
    made = sum(session.draws for session in sessions)
    if made != draws or len(sessions) == 1:
        raise ValueError(
            f"'sessions' are at least two and account for each draw, but {len(sessions)} have "
            f"{made} of {draws} draws"
        )
    if draws > MAX_CALIBRATION_DRAWS:
        raise ValueError(
            f"a baseline of several sessions has at most {MAX_CALIBRATION_DRAWS} draws, not {draws}"
        )
    times = [session.started_at for session in sessions]
    for earlier, later in pairwise([*times, until]):
        if time_of(later) < time_of(earlier):
            raise ValueError(f"a session at {earlier} comes before {later}")
