"""What a client takes from the machine that it runs on, so that a test can give it another."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx


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
