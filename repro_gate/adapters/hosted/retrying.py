"""When a draw that failed is made again, and until when."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from repro_gate.adapters.http.retry import Deadline, Passing
from repro_gate.errors import MeasurementUnavailable

_LONGEST_ASKED_S = 60.0
"""No server holds a check for longer, and no jump of the clock does."""


class TryAgain(MeasurementUnavailable, Passing):
    """No answer this time; the next attempt may get one."""

    def __init__(
        self,
        reason: str,
        *,
        remedy: str,
        after_s: float | None = None,
        said: str = "",
    ) -> None:
        super().__init__(reason, remedy=remedy)
        self.after_s = after_s
        self.said = said
        """All of the server's words where they may name a field that it refuses."""


class OutOfTime(MeasurementUnavailable):
    """All draws together have taken as long as they may."""


def require_time(deadline: Deadline, wait_s: float = 0.0, because: str = "") -> None:
    """Return when there is time left for a draw after a wait.

    Raises:
        OutOfTime: there is none, so that the wait would be in vain.
    """
    if wait_s >= deadline.left_s:
        why = f"; the last attempt: {because}" if because else ""
        raise OutOfTime(
            f"the deadline of {deadline.seconds:g} s for all draws is over{why}",
            remedy="raise deadline_s of the provider, or ask for fewer draws",
        )


def asked_wait_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return how long a server asks to wait, at most a minute; None when it does not say."""
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return min(milliseconds / 1000, _LONGEST_ASKED_S)
    text = headers.get("retry-after", "")
    seconds = _seconds(text)
    if seconds is None:
        seconds = _seconds_until(text, now)
    return None if seconds is None else min(seconds, _LONGEST_ASKED_S)


def _seconds(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) or number < 0 else number


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return (date - now).total_seconds()
