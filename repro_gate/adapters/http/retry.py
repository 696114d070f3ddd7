"""What a client takes from the machine that it runs on, so that a test can give it another."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar, cast

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _environment() -> Mapping[str, str]:
    return os.environ


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The clocks, the dice, the environment and the network."""

    environ: Mapping[str, str] = field(default_factory=_environment, repr=False)
    """Where keys are; it is never shown."""
    now: Callable[[], datetime] = _utc_now
    """The time of day, which may jump."""
    clock: Callable[[], float] = time.monotonic
    """Seconds that never jump."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    transport: httpx.AsyncBaseTransport | None = None
    """Takes the place of the network; None is the network, with the proxies of the environment."""


class Deadline:
    """The end of all calls together, by a clock that never jumps."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        """How long all calls together may take."""
        self._clock = clock
        self._ends = clock() + seconds

    @property
    def left_s(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self._ends - self._clock())


_Result = TypeVar("_Result")


class Passing(Exception):
    """A failure that the next attempt may not meet."""

    reason: str
    after_s: float | None = None
    """How long the server asks to wait; None when it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """Exponential back-off with full jitter.

    The wait before attempt n + 1 is uniform in [0, min(longest, first * 2^(n - 1))] seconds, and
    never shorter than the server asks for: Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015.
    """

    attempts: int
    first_backoff_s: float
    longest_backoff_s: float
    runtime: Runtime

    async def until_done(
        self, attempt: Callable[[], Awaitable[_Result]], *, allow: Callable[[float, str], None]
    ) -> _Result:
        """Return the first result; raises what the last attempt raises.

        Args:
            attempt: is made again when it raises what is `Passing`.
            allow: is told the seconds of a wait and the reason for it, and raises when that is
                longer than there is time for.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Passing),
            wait=self._wait_s,
            stop=stop_after_attempt(self.attempts),
            before_sleep=lambda state: allow(state.upcoming_sleep, _failure(state).reason),
            sleep=self.runtime.sleep,
            reraise=True,
        )
        return await retrying(attempt)

    def _wait_s(self, state: RetryCallState) -> float:
        backoff = min(
            self.longest_backoff_s, self.first_backoff_s * 2.0 ** (state.attempt_number - 1)
        )
        # A server may ask for no wait at all, or one of the clocks be wrong: that is no spinning.
        return max(_failure(state).after_s or 0.0, self.runtime.random() * backoff)


def _failure(state: RetryCallState) -> Passing:
    # Nothing else is waited for.
    return cast("Passing", state.outcome and state.outcome.exception())
