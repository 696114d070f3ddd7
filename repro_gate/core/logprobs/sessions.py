"""Calibration over sessions: when draws are of another session, and how sessions differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from repro_gate.core.guards import require_at_least, require_finite, require_share

MIN_DISTANCE: Final = timedelta(hours=1)
"""Between two sessions; draws closer together probably meet the same replicas."""
MAX_CALIBRATION_DRAWS: Final = 200
"""Of a baseline of several sessions, which bounds its file and the time of a test."""
BAND_SESSIONS: Final = 5
"""From so many on, the medians of sessions give a band for another one."""
WATCH_SESSIONS: Final = 20
"""From so many on, a watch is of more use than a baseline."""
DIFFERENCE_LEVEL: Final = 0.05
"""The level of the test of whether sessions differ."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTotals:
    """The sums of a baseline's draws, by session."""

    sessions: tuple[CalibrationSession, ...]
    totals: tuple[float, ...]
    """In nats, those of the first session first."""

    def __post_init__(self) -> None:
        require_finite(totals=self.totals)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of draws of each session."""
        return tuple(session.draws for session in self.sessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionNoise:
    """What the calibration of a suite shows about differences between sessions."""

    sessions: int
    """Of the cell with the fewest."""
    draws: int
    """Of the session with the fewest."""
    first: str
    """When the first session of any cell started, ISO 8601."""
    last: str
    """When the last one of any cell started."""
    within: float | None = None
    """Variance within sessions, in nats squared, of a cell on average; None with one session."""
    between: float | None = None
    """Variance between sessions, in nats squared, of a cell on average."""
    p_value: float | None = None
    """Of no difference between sessions, by moving draws between them."""
    missed: float | None = None
    """How often a variance between sessions as large as that within would not be found at 5 %."""
    band: float | None = None
    """How far the median of another session may be, in nats, for a cell in the middle; None with
    fewer than `BAND_SESSIONS`."""

    def __post_init__(self) -> None:
        require_at_least(1, sessions=self.sessions, draws=self.draws)
        require_at_least(0, within=self.within, between=self.between, band=self.band)
        require_share(p_value=self.p_value, missed=self.missed)
