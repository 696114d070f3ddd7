"""Failures of HTTP calls: which of them are retried, after which wait, and until when."""

import asyncio
import math
import os
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import TypeVar, cast

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from repro_gate.errors import ReproGateError

MAX_ASKED_S = 86_400.0
"""No server is waited for longer, whatever it asks; every deadline is shorter."""
_Result = TypeVar("_Result")


@dataclass(eq=False)
class HttpFailure(ReproGateError):
    """Why a call has no usable reply.

    It stays within the adapters, which convert it to the exception that their port promises.
    """

    reason: str
    """One safe line without the secret."""
    _: KW_ONLY
    remedy: str
    """Empty when there is nothing to suggest."""
    status: int | None = None
    """The HTTP status of a rejection that another attempt would meet again; None otherwise."""
    message: str = ""
    """The server's own message where it may name a rejected field: untrusted and unbounded."""
    transient: bool = False
    """Whether another attempt may succeed."""
    after_s: float | None = None
    """The wait that the server asks for, if any."""
    is_unreachable: bool = False
    """Whether no connection was made."""
    may_have_taken_effect: bool = False
    """Whether a request that changes something may have done so all the same."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _load_certificates_once() -> Callable[[], ssl.SSLContext]:
    return cache(httpx.create_ssl_context)


def _environment() -> Mapping[str, str]:
    return os.environ


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The clocks, randomness, environment and network of this process; tests replace them."""

    environ: Mapping[str, str] = field(default_factory=_environment, repr=False)
    """Not shown: it holds secrets."""
    now: Callable[[], datetime] = _utc_now
    """The time of day, which may jump."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    certificates: Callable[[], ssl.SSLContext] = field(default_factory=_load_certificates_once)
    """Those that are trusted; loading them takes longer than a call."""
    transport: httpx.AsyncBaseTransport | None = None
    """Replaces the network; None is the network, with the proxies of the environment."""


class Deadline:
    """The end of all calls together, on a monotonic clock."""

    def __init__(self, seconds: float, clock: Callable[[], float], *, remedy: str) -> None:
        """Set the deadline; the time starts with the first use."""
        self._seconds = seconds
        self._clock = clock
        self._ends: float | None = None
        self._remedy = remedy

    @property
    def left_s(self) -> float:
        """Return the seconds that are left."""
        now = self._clock()
        self._ends = now + self._seconds if self._ends is None else self._ends
        return max(0.0, self._ends - now)

    def extend(self, seconds: float) -> None:
        """Move the end, unless the time has not started."""
        if self._ends is not None:
            self._ends += seconds

    def require(self, wait_s: float = 0.0, *, after: str = "") -> None:
        """Raise a final `HttpFailure` unless time is left after a wait.

        Args:
            wait_s: how long the wait would be.
            after: the reason of the failed attempt that the wait is for.
        """
        if wait_s < self.left_s:
            return
        over = f"the deadline of {self._seconds:g} s for all calls"
        over = (
            f"waiting {math.ceil(wait_s)} s would exceed {over}"
            if self.left_s
            else f"{over} has passed"
        )
        raise HttpFailure(f"{after}; {over}" if after else over, remedy=self._remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential back-off with full jitter.

    The wait before attempt n + 1 is uniform in [0, min(max, first * 2^(n - 1))] seconds, and
    never shorter than the server asks for: Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015.
    """

    attempts: int
    first_backoff_s: float
    max_backoff_s: float
    deadline: Deadline
    runtime: Runtime

    async def run(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        """Repeat an attempt while its failures are transient; raises the last `HttpFailure`."""

        # tenacity awaits only what it recognises as a coroutine function.
        async def awaited() -> _Result:
            return await attempt()

        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_transient),
            wait=self._wait_s,
            stop=stop_after_attempt(self.attempts),
            before_sleep=lambda state: self.deadline.require(
                state.upcoming_sleep, after=_failure(state).reason
            ),
            sleep=self.runtime.sleep,
            reraise=True,
        )
        return await retrying(awaited)

    def _wait_s(self, state: RetryCallState) -> float:
        backoff = min(self.max_backoff_s, self.first_backoff_s * 2.0 ** (state.attempt_number - 1))
        # A server that asks for no wait, or a wrong clock, must not cause a busy loop.
        return max(_failure(state).after_s or 0.0, self.runtime.random() * backoff)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, HttpFailure) and error.transient


def _failure(state: RetryCallState) -> HttpFailure:
    # Only transient failures are waited for.
    return cast("HttpFailure", state.outcome and state.outcome.exception())


def status_text(status: int) -> str:
    """Return a status for a reader, such as `status 404 (Not Found)`."""
    try:
        return f"status {status} ({HTTPStatus(status).phrase})"
    except ValueError:
        return f"status {status}"


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the wait that a server asks for, at most a day; None without a valid one."""
    milliseconds = seconds_in(headers, "retry-after-ms")
    if milliseconds is not None:
        return min(milliseconds / 1000, MAX_ASKED_S)
    seconds = seconds_in(headers, "retry-after")
    if seconds is None:
        seconds = _seconds_until(headers.get("retry-after", ""), now)
    return None if seconds is None else min(seconds, MAX_ASKED_S)


def seconds_in(headers: Mapping[str, str], name: str) -> float | None:
    """Return the number of seconds in a header; None when there is none, or a negative one."""
    try:
        number = float(headers.get(name, ""))
    except ValueError:
        return None
    return number if number >= 0 else None


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return (date - now).total_seconds()
