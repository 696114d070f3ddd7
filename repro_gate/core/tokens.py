"""What a model says: tokens, where they came from, and how likely they were."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from repro_gate.core.text import spell

MAX_TOKEN_BYTES: Final = 4096
"""No tokenizer has a longer token."""


class Stop(StrEnum):
    """Why a generation ended."""

    LENGTH = "length"
    END_OF_GENERATION = "end_of_generation"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: equal only when both its id and its bytes are."""

    id: int
    data: bytes
    """The bytes that the token stands for; of a control token, its name."""

    def __post_init__(self) -> None:
        if self.id < 0:
            raise ValueError(f"a token id must be at least 0, got {self.id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The evidence for one chosen token: raw log-probabilities, in nats, before any sampler."""

    logprob: float
    best: tuple[tuple[int, float], ...]
    """The most likely tokens as (id, log-probability), best first."""

    def __post_init__(self) -> None:
        values = [self.logprob, *(logprob for _, logprob in self.best)]
        if not all(math.isfinite(value) for value in values):
            raise ValueError(f"log-probabilities must be finite, got {values}")
        if any(token < 0 for token, _ in self.best):
            raise ValueError(f"a token id must be at least 0, got {self.best}")

    @property
    def margin(self) -> float | None:
        """How far, in nats, the best token is ahead of the second: 0 is a tie."""
        if len(self.best) < 2:  # noqa: PLR2004 -- a margin lies between two
            return None
        return self.best[0][1] - self.best[1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The answer of one run of one cell."""

    prompt: tuple[Token, ...]
    tokens: tuple[Token, ...]
    stop: Stop
    trace: tuple[Choice, ...] = ()
    """One entry for each token on a traced run, nothing on the others."""

    def __post_init__(self) -> None:
        if self.trace and len(self.trace) != len(self.tokens):
            raise ValueError(f"{len(self.trace)} trace entries for {len(self.tokens)} tokens")


def text_of(tokens: Sequence[Token]) -> str:
    """Return the text that the tokens spell, as one safe line."""
    return spell(b"".join(token.data for token in tokens))
