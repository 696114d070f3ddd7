"""Tokens, and the evidence for them."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.tokens.generation import (
    Choice,
    Divergence,
    Generation,
    Place,
    Stop,
    Token,
    Trace,
    are_same,
    first_divergence,
    text_of,
)
from tests.fakes.strategies import near_generations
from tests.fakes.values import generation_of, tokens_of, trace_of

_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_CHOICES = st.builds(
    Choice,
    logprob=_NUMBERS,
    best=st.lists(st.tuples(st.integers(0, 2**63 - 1), _NUMBERS), max_size=3).map(tuple),
)


def _packed(choices: Iterable[Choice]) -> Sequence[Choice]:
    return Trace(
        (each.logprob, [token for token, _ in each.best], [value for _, value in each.best])
        for each in choices
    )


def test_tokens_are_equal_only_in_id_and_bytes() -> None:
    """The same id with other bytes is another vocabulary, and the same bytes may have two ids."""
    assert Token(1, b"a") == Token(1, b"a")
    assert Token(1, b"a") != Token(2, b"a")
    assert Token(1, b"a") != Token(1, b"b")


def test_the_ids_decide_where_bytes_are_unknown() -> None:
    """Of equal ids with other bytes each is the same as the id alone; so that is no equality."""
    unknown = Token(1, None)

    assert are_same(Token(1, b"a"), unknown)
    assert are_same(unknown, Token(1, b"b"))
    assert not are_same(Token(1, b"a"), Token(1, b"b"))
    assert not are_same(unknown, Token(2, None))
    assert not are_same(unknown, None)
    assert unknown not in {Token(1, b"a"), Token(1, b"")}


@pytest.mark.parametrize("place", [Place.PROMPT, Place.OUTPUT])
def test_a_generation_without_bytes_is_compared_by_id(place: Place) -> None:
    """In the prompt and in the output."""
    whole = Generation(prompt=tokens_of(1, 7), tokens=tokens_of(1, 7), stop=Stop.LENGTH)
    unknown, other = ((Token(1, None), Token(last, None)) for last in (7, 9))
    wanted, given = tokens_of(1, 7)[1], Token(9, None)
    divergence = Divergence(place=place, position=1, expected=wanted, observed=given)

    assert first_divergence(whole, _with_tokens(whole, place, unknown)) is None
    assert first_divergence(_with_tokens(whole, place, unknown), whole) is None
    assert first_divergence(whole, _with_tokens(whole, place, other)) == divergence


def _with_tokens(whole: Generation, place: Place, tokens: tuple[Token, ...]) -> Generation:
    if place is Place.PROMPT:
        return replace(whole, prompt=tokens)
    return replace(whole, tokens=tokens)


def test_a_divergence_needs_tokens_that_differ() -> None:
    """One without bytes does not differ from any of its id."""
    with pytest.raises(ValueError, match="the tokens at a divergence must differ"):
        Divergence(place=Place.OUTPUT, position=0, expected=Token(1, b"a"), observed=Token(1, None))


def test_an_unknown_text_is_the_id() -> None:
    """In angle brackets between the bytes of the others."""
    assert text_of([Token(1, b"a"), Token(271, None), Token(2, b"")]) == "a<271>"


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
    """A golden with a negative alternative would be unreadable."""
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
    """Evidence has to match its tokens."""
    tokens = tokens_of(5, 6)
    with pytest.raises(ValueError, match="1 trace entries for 2 tokens"):
        Generation(prompt=(), tokens=tokens, stop=Stop.LENGTH, trace=trace_of(tokens[:1]))

    assert generation_of(5, 6, is_traced=True).trace == trace_of(tokens)


def test_tokens_are_spelled_together() -> None:
    """A character whose bytes are split over two tokens is one character of the text."""
    assert text_of((Token(1, b"a \xf0\x9f"), Token(2, b"\x8d\x81"), Token(3, b"\n"))) == "a 🍁\\n"


def _swapped(divergence: Divergence | None) -> Divergence | None:
    if divergence is None:
        return None
    return Divergence(
        place=divergence.place,
        position=divergence.position,
        expected=divergence.observed,
        observed=divergence.expected,
        logits_from=divergence.logits_from,
    )


@given(near_generations, near_generations)
def test_it_does_not_matter_which_one_is_expected(one: Generation, other: Generation) -> None:
    """The other way round, the same place is found with its sides exchanged."""
    assert first_divergence(one, other) == _swapped(first_divergence(other, one))


@given(near_generations, near_generations)
def test_nothing_is_found_only_in_equal_tokens(one: Generation, other: Generation) -> None:
    """There is no divergence exactly when prompt, output and, if both are known, logits are."""
    are_equal = (one.prompt, one.tokens) == (other.prompt, other.tokens)
    has_same_logits = one.logits == other.logits or not (one.logits and other.logits)

    assert (first_divergence(one, other) is None) == (are_equal and has_same_logits)


@given(near_generations, near_generations)
def test_everything_before_a_divergence_is_equal(one: Generation, other: Generation) -> None:
    """It is the first: the sequences agree up to it, and a differing output means equal prompts."""
    found = first_divergence(one, other)
    if found is not None:
        before = slice(0, found.position)
        sides = [generation.at(found.place)[before] for generation in (one, other)]
        assert sides[0] == sides[1]
        assert len(sides[0]) == found.position
        assert found.place is Place.PROMPT or one.prompt == other.prompt
        assert found.place is not Place.LOGITS or one.tokens == other.tokens


@given(near_generations, near_generations)
def test_logits_are_compared_up_to_the_fork(one: Generation, other: Generation) -> None:
    """After other tokens they are no longer of the same text."""
    found = first_divergence(one, other)
    if found is not None:
        shared = found.position + 1 if found.place in {Place.OUTPUT, Place.LOGITS} else 0
        pairs = list(zip(one.logits[:shared], other.logits[:shared], strict=False))
        differing = [step for step, (before, now) in enumerate(pairs) if before != now]
        assert found.logits_from == (differing[0] if differing else None)


def test_equal_tokens_of_other_logits_are_a_divergence() -> None:
    """One bit of one logit is another digest."""
    one, other = generation_of(5, 6, 7, logits="abc"), generation_of(5, 6, 7, logits="abd")

    assert first_divergence(one, other) == Divergence(
        place=Place.LOGITS,
        position=2,
        expected=Token(2, b"c" * 16),
        observed=Token(2, b"d" * 16),
        logits_from=2,
    )


def test_logits_differ_before_a_token_does() -> None:
    """The fork has the step at which the numbers moved."""
    one, other = generation_of(5, 6, 7, logits="abc"), generation_of(5, 6, 8, logits="acd")

    assert first_divergence(one, other) == Divergence(
        place=Place.OUTPUT,
        position=2,
        expected=tokens_of(7)[0],
        observed=tokens_of(8)[0],
        logits_from=1,
    )


@pytest.mark.parametrize(("logits", "message"), [("a", "1 digests of logits for 2"), ("xy", "hex")])
def test_each_token_has_one_digest(logits: str, message: str) -> None:
    """Others could not be compared step by step."""
    with pytest.raises(ValueError, match=message):
        generation_of(5, 6, logits=logits)


@pytest.mark.parametrize(
    ("place", "logits_from"), [(Place.PROMPT, 0), (Place.OUTPUT, 4), (Place.OUTPUT, -1)]
)
def test_logits_differ_at_a_step_before_the_fork(place: Place, logits_from: int) -> None:
    """After another prompt or token they are not compared."""
    with pytest.raises(ValueError, match=r"logits"):
        Divergence(
            place=place,
            position=3,
            expected=None,
            observed=Token(5, b"a"),
            logits_from=logits_from,
        )


@pytest.mark.parametrize(
    ("observed", "position", "want", "got"),
    [
        ((5, 9, 7), 1, 6, 9),
        ((5, 6), 2, 7, None),
        ((), 0, 5, None),
        ((5, 6, 7, 8), 3, None, 8),
    ],
)
def test_an_output_parts_where_it_first_differs_or_ends(
    observed: tuple[int, ...], position: int, want: int | None, got: int | None
) -> None:
    """A sequence that ends early differs at its own end."""
    assert first_divergence(generation_of(5, 6, 7), generation_of(*observed)) == Divergence(
        place=Place.OUTPUT,
        position=position,
        expected=None if want is None else tokens_of(want)[0],
        observed=None if got is None else tokens_of(got)[0],
    )


def test_another_prompt_comes_before_another_output() -> None:
    """After a tokenizer change the output is not compared."""
    observed = generation_of(9, prompt=(1, 3))

    assert first_divergence(generation_of(5, prompt=(1, 2)), observed) == Divergence(
        place=Place.PROMPT, position=1, expected=tokens_of(2)[0], observed=tokens_of(3)[0]
    )


def test_other_bytes_of_the_same_id_are_a_divergence() -> None:
    """Byte for byte is meant: a vocabulary may move under its ids."""
    one = Generation(prompt=(), tokens=(Token(5, b"a"),), stop=Stop.LENGTH)
    other = Generation(prompt=(), tokens=(Token(5, b"b"),), stop=Stop.LENGTH)

    assert first_divergence(one, other) == Divergence(
        place=Place.OUTPUT, position=0, expected=Token(5, b"a"), observed=Token(5, b"b")
    )


def test_evidence_is_not_compared() -> None:
    """A trace, or its absence, is no difference."""
    assert first_divergence(generation_of(5, is_traced=True), generation_of(5)) is None


@given(st.lists(_CHOICES, max_size=4).map(tuple), st.integers(-5, 5), st.integers(-5, 5))
def test_a_trace_is_the_tuple_of_its_choices(
    choices: tuple[Choice, ...], start: int, end: int
) -> None:
    """To the last bit, in every way in which it is read."""
    trace = _packed(choices)

    assert (trace, repr(trace), hash(trace), len(trace)) == (
        choices,
        repr(choices),
        hash(choices),
        len(choices),
    )
    assert (trace[start:end], tuple(reversed(trace))) == (choices[start:end], choices[::-1])
    assert (trace == list(choices), trace == (*choices, None)) == (False, False)


@pytest.mark.parametrize("place", [-3, 2])
def test_a_trace_ends_where_its_choices_end(place: int) -> None:
    """As a tuple does."""
    trace = _packed([Choice(logprob=-1.0, best=())] * 2)

    with pytest.raises(IndexError):
        trace[place]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ((math.nan, [1], [-1.0]), "must be finite, got [-0.5, nan]"),
        ((-1.0, [1], [-math.inf]), "must be finite, got [-inf]"),
        ((-1.0, [1, -2], [-1.0, -2.0]), "a token id must be at least 0, got -2"),
        ((-1.0, [1, 2], [-1.0]), "as many ids as log-probabilities are expected"),
        ((-1.0, [True], [-1.0]), "ids are integers, and log-probabilities are numbers"),
        ((-1.0, [1.0], [-1.0]), "ids are integers, and log-probabilities are numbers"),
        ((-1.0, [1], [False]), "ids are integers, and log-probabilities are numbers"),
        (("-1.0", [], []), "ids are integers, and log-probabilities are numbers"),
        ((-1.0, [2**63], [-1.0]), "a number of more than 64 bits"),
        ((-(10**400), [], []), "a number of more than 64 bits"),
    ],
)
def test_a_trace_refuses_what_a_choice_refuses(
    choice: tuple[Any, list[Any], list[Any]], message: str
) -> None:
    """It is checked when it is made, not when it is read."""
    with pytest.raises(ValueError, match=re.escape(message)):
        Trace([(-0.5, [], []), choice])


def test_a_trace_is_made_of_its_columns() -> None:
    """A choice may have any number of best tokens."""
    choices = [(-0.5, [1, 2], [-0.5, -1.5]), (-1.0, [], []), (-2.0, [3], [-0.0])]

    logprobs, ids, values = Trace(choices).columns()

    assert [*zip(logprobs, ids, values, strict=True)] == choices


@pytest.mark.parametrize(
    ("stop", "text", "content"),
    [
        (Stop.STOP_STRING, None, b""),
        (Stop.STOP_STRING, "x", None),
        (Stop.LENGTH, "x", b""),
    ],
)
def test_only_a_stop_string_cuts_a_text(
    stop: Stop, text: str | None, content: bytes | None
) -> None:
    """The string and the content before it come together."""
    with pytest.raises(ValueError, match="stop string"):
        Generation(prompt=(), tokens=(), stop=stop, stop_string=text, content=content)
