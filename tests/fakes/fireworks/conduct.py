"""How a service behaves towards everybody, and what it remembers of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.fakes.fireworks.hosting import FirstPosition

KEY = "fw_key_of_the_tests"


class Dialect(StrEnum):
    """Whose API it is; the value is where the API begins."""

    FIREWORKS = "/inference/v1"
    GENERIC = "/v1"
    """Compatible with OpenAI, and no more: legacy arrays without ids, no headers of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """How the service behaves towards everybody."""

    key: str | None = KEY
    """What requests have to bear; None lets everybody in."""
    dialect: Dialect = Dialect.FIREWORKS
    latency_s: float = 0.0
    """How long every answer takes at least; requests do not wait for one another."""
    requests_per_minute: int = 60_000
    """The limit, which is kept; more than Fireworks allows, so that no test waits unawares."""
    seed: int = 0
    """Of the noise."""
    first_position: FirstPosition = FirstPosition.AS_THE_SHAPE_HAS_IT
    allows_no_tokens: bool = True
    """Whether `max_tokens` may be 0, so that a prompt is scored and nothing more."""
    remembers: int = 10_000
    """How many requests are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it came."""

    path: str
    is_authorized: bool
    """Whether it bore the key."""
    headers: Mapping[str, str]
    """In lower case, and without `authorization`."""
    body: Any
    """The JSON; None when it was none."""
