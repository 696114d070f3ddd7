"""Where two generations part."""

import pytest
from hypothesis import given

from repro_gate.core.tokens.generation import (
    Divergence,
    Generation,
    Place,
    Stop,
    Token,
    first_divergence,
)
from tests.fakes.strategies import near_generations
from tests.fakes.values import generation_of, tokens_of


def _swapped(divergence: Divergence | None) -> Divergence | None:
    if divergence is None:
        return None
    return Divergence(
        place=divergence.place,
        position=divergence.position,
        expected=divergence.observed,
        observed=divergence.expected,
    )


def _tokens_at(place: Place, generation: Generation) -> tuple[Token, ...]:
    return generation.prompt if place is Place.PROMPT else generation.tokens


@given(near_generations, near_generations)
def test_it_does_not_matter_which_one_is_expected(one: Generation, other: Generation) -> None:
    """The other way round, the same place is found with its sides exchanged."""
    assert first_divergence(one, other) == _swapped(first_divergence(other, one))


@given(near_generations, near_generations)
def test_nothing_is_found_only_in_equal_tokens(one: Generation, other: Generation) -> None:
    """There is no divergence exactly when prompt and output are the same."""
    are_equal = (one.prompt, one.tokens) == (other.prompt, other.tokens)

    assert (first_divergence(one, other) is None) == are_equal


@given(near_generations, near_generations)
def test_everything_before_a_divergence_is_equal(one: Generation, other: Generation) -> None:
    """It is the first: the sequences agree up to it, and a differing output means equal prompts."""
    found = first_divergence(one, other)
    if found is not None:
        before = slice(0, found.position)
        sides = [_tokens_at(found.place, generation)[before] for generation in (one, other)]
        assert sides[0] == sides[1]
        assert len(sides[0]) == found.position
        assert found.place is Place.PROMPT or one.prompt == other.prompt


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
    """When the tokenizer moved, what the model then said is no news."""
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
