"""Tokens, and the evidence for them."""

import math
import re

import pytest

from repro_gate.core.tokens.generation import Choice, Generation, Stop, Token, text_of
from tests.fakes.values import generation_of, tokens_of, trace_of


def test_tokens_are_equal_only_in_id_and_bytes() -> None:
    """The same id with other bytes is another vocabulary, and the same bytes may have two ids."""
    assert Token(1, b"a") == Token(1, b"a")
    assert Token(1, b"a") != Token(2, b"a")
    assert Token(1, b"a") != Token(1, b"b")


def test_a_negative_token_id_is_refused() -> None:
    """No vocabulary has it; llama.cpp means "no token" by it."""
    with pytest.raises(ValueError, match="a token id must be at least 0, got -1"):
        Token(-1, b"")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_log_probability_is_finite(value: float) -> None:
    """What is not a number is no evidence, whether for the token or for an alternative."""
    with pytest.raises(ValueError, match=re.escape(f"must be finite, got [{value}")):
        Choice(logprob=value, best=())
    with pytest.raises(ValueError, match=re.escape(f"must be finite, got [-0.5, {value}]")):
        Choice(logprob=-0.5, best=((7, value),))


def test_an_alternative_has_a_token_id() -> None:
    """A negative alternative would make a golden that cannot be read again."""
    with pytest.raises(ValueError, match=r"a token id must be at least 0, got \(\(-1, -0\.5\),\)"):
        Choice(logprob=-0.5, best=((-1, -0.5),))


@pytest.mark.parametrize(
    ("best", "margin"),
    [
        ((), None),
        (((7, -0.5),), None),
        (((7, -0.5), (8, -0.5)), 0.0),
        (((7, -0.5), (8, -2.0), (9, -3.0)), 1.5),
    ],
)
def test_the_margin_is_the_lead_of_the_best_token(
    best: tuple[tuple[int, float], ...], margin: float | None
) -> None:
    """It lies between the best two, and is unknown when there are not two."""
    assert Choice(logprob=-0.5, best=best).margin == margin


def test_a_trace_speaks_of_every_token_or_of_none() -> None:
    """Evidence that cannot be matched to its tokens is refused."""
    tokens = tokens_of(5, 6)
    with pytest.raises(ValueError, match="1 trace entries for 2 tokens"):
        Generation(prompt=(), tokens=tokens, stop=Stop.LENGTH, trace=trace_of(tokens[:1]))

    assert generation_of(5, 6, is_traced=True).trace == trace_of(tokens)


def test_tokens_are_spelled_together() -> None:
    """A character whose bytes are split over two tokens is one character of the text."""
    assert text_of((Token(1, b"a \xf0\x9f"), Token(2, b"\x8d\x81"), Token(3, b"\n"))) == "a 🍁\\n"
