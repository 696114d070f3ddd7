"""The limits of hosted APIs: the budget of a check, and the rate limits of a provider."""

import asyncio
import re
from collections.abc import Callable, Mapping

from repro_gate.adapters.hosted.dialects import (
    FAMILIES,
    OVER_LIMIT,
    REQUESTS,
    RateFamily,
)
from repro_gate.adapters.http.retry import Deadline, Runtime
from repro_gate.core.logprobs.policy import Budget
from repro_gate.errors import MeasurementUnavailable

_MINUTE_S = 60.0
_ASSUMED_LIMIT = 60
"""Requests per minute of a server that reports none left, but no limit."""
_COUNT = re.compile(r"[0-9]{1,15}")
_MIN_WAIT_S = 0.001
"""After a shorter sleep the clock may show the same time."""


class Ledger:
    """Counts every call, and allows none beyond the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._calls = 0
        self._tokens = 0

    def spend(self, tokens: int) -> None:
        """Count one call; raises `MeasurementUnavailable` when the budget does not allow it."""
        budget = self._budget
        if budget.max_calls is not None and self._calls + 1 > budget.max_calls:
            raise _used_up(f"{budget.max_calls} calls", "max_calls")
        if budget.max_tokens is not None and self._tokens + tokens > budget.max_tokens:
            raise _used_up(f"{budget.max_tokens} tokens", "max_tokens")
        self._calls += 1
        self._tokens += tokens


def _used_up(what: str, setting: str) -> MeasurementUnavailable:
    return MeasurementUnavailable(
        f"the budget of {what} is used up",
        remedy=f"raise {setting} of the suite's budget, or ask for fewer draws",
    )


class TokenBucket:
    """A limit per minute, as a bucket that is refilled steadily."""

    def __init__(self, limit: int, *, now: float) -> None:
        self._limit = limit
        self._level = float(limit)
        self._at = now

    def update(self, limit: int | None, remaining: int | None, *, now: float) -> None:
        """Take over what a server reports, except a level above our own count."""
        self._refill(now)
        if limit is not None:
            self._limit = limit
        self._level = min(self._level, self._limit if remaining is None else remaining)

    def wait_s(self, cost: int, *, now: float) -> float:
        """Return how long it takes until `cost` can be taken."""
        self._refill(now)
        # A cost above the limit is allowed when the bucket is full, and leaves a debt.
        missing = min(cost, self._limit) - self._level
        return max(0.0, missing * _MINUTE_S / self._limit)

    def take(self, cost: int) -> None:
        """Take `cost` out."""
        self._level -= cost

    def _refill(self, now: float) -> None:
        refill = (now - self._at) * self._limit / _MINUTE_S
        self._level = min(float(self._limit), self._level + refill)
        self._at = now


class RateLimiter:
    """Delays the calls to one provider, so that its limits are kept before it has to reject any."""

    def __init__(self, runtime: Runtime) -> None:
        self._clock: Callable[[], float] = runtime.clock
        self._sleep = runtime.sleep
        self._buckets: dict[RateFamily, TokenBucket] = {}
        self._paused_until = float("-inf")
        self._lock = asyncio.Lock()

    async def acquire(self, costs: Mapping[RateFamily, int], deadline: Deadline) -> None:
        """Wait until a call of these costs may be sent; raises `HttpFailure` if not in time."""
        deadline.require()
        # The lock is held while waiting, so that calls are sent in the order of their arrival.
        async with self._lock:
            while (wait_s := self._wait_s(costs)) > 0:
                deadline.require(wait_s)
                await self._sleep(max(wait_s, _MIN_WAIT_S))
            for family, bucket in self._buckets.items():
                bucket.take(costs.get(family, 0))

    def pause(self, seconds: float) -> None:
        """Delay all calls: a server that asks one of them to wait means all."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def update_limits(self, headers: Mapping[str, str]) -> None:
        """Read the limits in the headers of a reply."""
        is_over = headers.get(OVER_LIMIT, "").strip().lower() in {"yes", "true", "1"}
        for family in FAMILIES:
            limit = _count(headers.get(family.limit)) or None
            remaining = _count(headers.get(family.remaining))
            if family is REQUESTS and is_over:
                remaining = 0
            if limit is not None or remaining == 0 or family in self._buckets:
                self._bucket(family, limit).update(limit, remaining, now=self._clock())

    def _bucket(self, family: RateFamily, limit: int | None) -> TokenBucket:
        if family not in self._buckets:
            self._buckets[family] = TokenBucket(limit or _ASSUMED_LIMIT, now=self._clock())
        return self._buckets[family]

    def _wait_s(self, costs: Mapping[RateFamily, int]) -> float:
        now = self._clock()
        waits = (
            bucket.wait_s(costs.get(family, 0), now=now) for family, bucket in self._buckets.items()
        )
        return max(self._paused_until - now, *waits, 0.0)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and _COUNT.fullmatch(text) else None
