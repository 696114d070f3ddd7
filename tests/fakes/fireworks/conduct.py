"""The settings of a service, and its record of a request."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.fakes.fireworks.hosting import FirstPosition

KEY = "fw_key_of_the_tests"


class Dialect(StrEnum):
    """The kind of API; the value is its root."""

    FIREWORKS = "/inference/v1"
    GENERIC = "/v1"
    """Generic, compatible with OpenAI's: legacy lists without ids, no headers of its own."""
    VLLM = "/vllm/v1"
    """vLLM: log-probabilities of a prompt by id, and a cache of prompts."""
    SGLANG = "/sglang"
    """SGLang's own API, which names no model in an answer."""
    TOGETHER = "/together/v1"
    TGI = "/tgi"
    """Text Generation Inference, which names no model in an answer."""
    OLLAMA = "/ollama/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """The settings of a service."""

    key: str | None = KEY
    """The key that requests must have; None for an API without keys."""
    dialect: Dialect = Dialect.FIREWORKS
    latency_s: float = 0.0
    """The minimum time of every answer; requests do not wait for one another."""
    requests_per_minute: int = 60_000
    """The enforced limit; above that of Fireworks, so that no test waits by accident."""
    seed: int = 0
    """The seed of the noise."""
    first_position: FirstPosition = FirstPosition.AS_THE_SHAPE_HAS_IT
    allows_no_tokens: bool = True
    """Whether `max_tokens` may be 0, so that a prompt is only scored."""
    remembers: int = 10_000
    """How many requests are recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One received request."""

    path: str
    is_authorized: bool
    """Whether it had the key."""
    headers: Mapping[str, str]
    """In lower case, and without `authorization`."""
    body: Any
    """The JSON; None when it was invalid."""
