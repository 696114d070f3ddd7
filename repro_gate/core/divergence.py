"""Exact comparison: where two generations part."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest

from repro_gate.core.guards import require_at_least
from repro_gate.core.tokens import Generation, Stop, Token


class Place(StrEnum):
    """The part of a generation in which two of them differ."""

    PROMPT = "prompt"
    """The same text became other prompt tokens: the tokenizer moved, not the model."""
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
        return self.expected == next(iter(tokens[self.position : self.position + 1]), None) and (
            self.position <= len(tokens)
        )


def first_divergence(expected: Generation, observed: Generation) -> Divergence | None:
    """Return where `observed` first differs from `expected`, or None when they are equal.

    The prompt is compared first, because after another prompt the output says nothing. A
    sequence that ends early differs at its own end.
    """
    return _first(Place.PROMPT, expected.prompt, observed.prompt) or _first(
        Place.OUTPUT, expected.tokens, observed.tokens
    )


def output_divergence(expected: Generation, observed: Generation) -> Divergence | None:
    """Return where two outputs first differ as far as both were let to go, whatever was asked.

    To end by itself is a part of an output; to be cut short at a limit is not.
    """
    found = _first(Place.OUTPUT, expected.tokens, observed.tokens)
    if found is None:
        return None
    is_cut = found.expected is None and _is_cut_short(expected)
    is_cut |= found.observed is None and _is_cut_short(observed)
    return None if is_cut else found


def _is_cut_short(generation: Generation) -> bool:
    # No token at all is an answer: a limit allows at least one.
    return generation.stop is Stop.LENGTH and bool(generation.tokens)


def _first(place: Place, expected: Sequence[Token], observed: Sequence[Token]) -> Divergence | None:
    for position, (want, got) in enumerate(zip_longest(expected, observed)):
        if want != got:
            return Divergence(place=place, position=position, expected=want, observed=got)
    return None
