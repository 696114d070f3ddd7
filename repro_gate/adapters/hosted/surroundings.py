"""What the client takes from the machine that it runs on, so that a test can give it another."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from repro_gate.errors import MeasurementUnavailable


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _environment() -> Mapping[str, str]:
    return os.environ


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
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


class OutOfTime(MeasurementUnavailable):
    """All draws together have taken as long as they may."""


class Deadline:
    """The end of all draws together, by a clock that never jumps."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ends = clock() + seconds

    @property
    def left_s(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self._ends - self._clock())

    def allow(self, wait_s: float = 0.0, *, because: str = "") -> None:
        """Return when there is time left after a wait.

        Raises:
            OutOfTime: there is none, so that the wait would be in vain.
        """
        if wait_s >= self.left_s:
            why = f"; the last attempt: {because}" if because else ""
            raise OutOfTime(
                f"the deadline of {self._seconds:g} s for all draws is over{why}",
                remedy="raise deadline_s of the provider, or ask for fewer draws",
            )
