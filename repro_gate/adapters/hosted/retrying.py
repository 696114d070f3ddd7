"""When a call that failed is made again, and how long to wait before it."""

import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from repro_gate.adapters.hosted.surroundings import Deadline, Surroundings
from repro_gate.errors import MeasurementUnavailable

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 8.0
_LONGEST_ASKED_S = 60.0
"""No server holds a check for longer, and no jump of the clock does."""
_Result = TypeVar("_Result")


class TryAgain(MeasurementUnavailable):
    """No answer this time; the next attempt may get one."""

    def __init__(self, reason: str, *, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s
        """How long the server asks to wait; None when it does not say."""


async def persist(
    attempt: Callable[[], Awaitable[_Result]],
    *,
    attempts: int,
    deadline: Deadline,
    surroundings: Surroundings,
) -> _Result:
    """Return the first result, trying again with exponential back-off and full jitter.

    Raises:
        TryAgain: of the last attempt.
        OutOfTime: the next attempt would come after the deadline.
        MeasurementUnavailable: an attempt failed in a way that another one does not mend.
    """

    def wait_s(state: RetryCallState) -> float:
        backoff = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** (state.attempt_number - 1))
        # A server may ask for no wait at all, or one of the clocks be wrong: that is no spinning.
        return max(_failure(state).after_s or 0.0, surroundings.random() * backoff)

    def check_deadline(state: RetryCallState) -> None:
        deadline.allow(state.upcoming_sleep, because=_failure(state).reason)

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(TryAgain),
        wait=wait_s,
        stop=stop_after_attempt(attempts),
        before_sleep=check_deadline,
        sleep=surroundings.sleep,
        reraise=True,
    )
    return await retrying(attempt)


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


def _failure(state: RetryCallState) -> TryAgain:
    failure = None if state.outcome is None else state.outcome.exception()
    return failure if isinstance(failure, TryAgain) else TryAgain("no answer")
