"""Generations: tokens with their evidence, and their exact comparison."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Final

from repro_gate.core.guards import require_at_least
from repro_gate.core.text import escape_bytes

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
    """The bytes of the token; for a control token, its name."""

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
        """The lead of the best token over the second in nats; 0 is a tie."""
        if len(self.best) < 2:  # noqa: PLR2004 -- a margin lies between two
            return None
        return self.best[0][1] - self.best[1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The output of one run of one cell."""

    prompt: tuple[Token, ...]
    tokens: tuple[Token, ...]
    stop: Stop
    trace: tuple[Choice, ...] = ()
    """One entry per token of a traced run, empty otherwise."""

    def __post_init__(self) -> None:
        if self.trace and len(self.trace) != len(self.tokens):
            raise ValueError(f"{len(self.trace)} trace entries for {len(self.tokens)} tokens")


def text_of(tokens: Sequence[Token]) -> str:
    """Return the escaped text of the tokens, as one safe line."""
    return escape_bytes(b"".join(token.data for token in tokens))


class Place(StrEnum):
    """The part of a generation in which two of them differ."""

    PROMPT = "prompt"
    """The tokenizer changed, not the model."""
    OUTPUT = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first position at which two generations differ."""

    place: Place
    position: int
    """Counted from 0 within `place`."""
    expected: Token | None
    """None when the expected sequence had already ended."""
    observed: Token | None
    """None when the observed sequence had already ended."""

    def __post_init__(self) -> None:
        require_at_least(0, position=self.position)
        if self.expected == self.observed:
            raise ValueError(f"the tokens at a divergence must differ, got {self.expected} twice")

    def starts_from(self, expected: Generation) -> bool:
        """Return whether a generation has the expected token, or its end, at this position."""
        tokens = expected.prompt if self.place is Place.PROMPT else expected.tokens
        return self.position <= len(tokens) and (*tokens, None)[self.position] == self.expected


def first_divergence(expected: Generation, observed: Generation) -> Divergence | None:
    """Return where `observed` first differs from `expected`, or None when they are equal.

    The prompt is compared first: outputs of different prompts are not comparable. A sequence that
    ends early differs at its own end.
    """
    return _first(Place.PROMPT, expected.prompt, observed.prompt) or _first(
        Place.OUTPUT, expected.tokens, observed.tokens
    )


def output_divergence(expected: Generation, observed: Generation) -> Divergence | None:
    """Return where two outputs first differ, ignoring the prompts and truncation at a limit."""
    found = _first(Place.OUTPUT, expected.tokens, observed.tokens)
    if found is None:
        return None
    is_cut = found.expected is None and _is_cut_short(expected)
    is_cut |= found.observed is None and _is_cut_short(observed)
    return None if is_cut else found


def _is_cut_short(generation: Generation) -> bool:
    # An empty output is never truncated: a limit allows at least one token.
    return generation.stop is Stop.LENGTH and bool(generation.tokens)


def _first(place: Place, expected: Sequence[Token], observed: Sequence[Token]) -> Divergence | None:
    for position, (want, got) in enumerate(zip_longest(expected, observed)):
        if want != got:
            return Divergence(place=place, position=position, expected=want, observed=got)
    return None
