"""Validation of one measurement."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.logprobs.draw import (
    ROUNDING_NATS,
    Answered,
    Draw,
    DrawFacts,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
    judge_answer,
)

PROMPT = (Piece(1, b"Say"), Piece(2, b" hi"))
RESPONSE = (Piece(3, b" hi"), Piece(4, b" \xf0\x9f"), Piece(5, b"\n"))
ENCODING = Encoding(prompt=PROMPT, response=RESPONSE)
FACTS = DrawFacts(model="accounts/x", request_id="r-1")
LOGPROBS = (-1.5, -0.25, 0.0)


def answered(*, pieces: tuple[Piece, ...] = RESPONSE, **changes: object) -> Answered:
    """Return a good answer with changes."""
    usual: dict[str, object] = {"logprobs": LOGPROBS, "facts": FACTS}
    return Answered(pieces=pieces, **{**usual, **changes})  # type: ignore[arg-type]


def invalid(reason: str, position: int | None = None) -> InvalidDraw:
    """Return the verdict on an invalid answer."""
    return InvalidDraw(reason=reason, position=position, facts=FACTS)


@pytest.mark.parametrize(
    ("piece", "line"),
    [
        (Piece(7, b" hi"), '7 " hi"'),
        (Piece(None, b" hi"), '" hi"'),
        (Piece(0, b"\x1b[2J\n"), '0 "\\x1b[2J\\n"'),
    ],
)
def test_a_token_is_shown_as_one_safe_line(piece: Piece, line: str) -> None:
    """Whatever a provider calls a token, it moves no cursor."""
    assert str(piece) == line


def test_a_response_without_tokens_is_refused() -> None:
    """There would be nothing to measure."""
    with pytest.raises(ValueError, match="a response must have at least one token"):
        Encoding(prompt=PROMPT, response=())


def test_ids_are_there_for_all_tokens_or_not_at_all() -> None:
    """One token without an id is enough to fall back to texts."""
    nameless = (Piece(None, b" hi"),)

    assert ENCODING.has_ids
    assert not Encoding(prompt=nameless, response=RESPONSE).has_ids
    assert not Encoding(prompt=PROMPT, response=nameless).has_ids


def test_a_good_answer_is_a_draw() -> None:
    """It keeps the facts of its call, and its sum is log P(response | prompt)."""
    draw = judge_answer(answered(), ENCODING, model="accounts/x")

    assert draw == Draw(logprobs=LOGPROBS, facts=FACTS)
    assert draw.total == -1.75


def test_the_logarithm_of_a_rounded_one_is_zero() -> None:
    """A provider that rounds a probability up to 1 has measured it all the same."""
    values = (-1.5, ROUNDING_NATS, 0.0)

    assert judge_answer(answered(logprobs=values), ENCODING) == Draw(
        logprobs=(-1.5, 0.0, 0.0), facts=FACTS
    )


def test_another_model_is_no_measurement() -> None:
    """An answer of another model is invalid."""
    assert judge_answer(answered(), ENCODING, model="accounts/y") == invalid(
        "the model 'accounts/x' answered in place of 'accounts/y'"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "no log-probability"),
        (math.nan, "the log-probability nan"),
        (-math.inf, "the log-probability -inf"),
        (math.inf, "the log-probability inf"),
        (0.01, "the log-probability 0.01"),
    ],
)
def test_an_impossible_value_is_reported_with_its_token(value: float | None, shown: str) -> None:
    """The message names the value and its token."""
    answer = answered(logprobs=(-1.5, value, -math.inf))

    assert judge_answer(answer, ENCODING) == invalid(f'{shown} for 4 " \\xf0\\x9f"', 1)


@pytest.mark.parametrize(
    ("pieces", "reason", "position"),
    [
        (
            (RESPONSE[0], Piece(9, b" \xf0\x9f"), RESPONSE[2]),
            'the answer is about 9 " \\xf0\\x9f", where 4 " \\xf0\\x9f" was asked',
            1,
        ),
        (RESPONSE[:2], 'the answer is about nothing, where 5 "\\n" was asked', 2),
        (
            (*RESPONSE, Piece(6, b"!")),
            'the answer is about 6 "!", where nothing was asked',
            3,
        ),
    ],
)
def test_an_answer_about_other_tokens_is_no_measurement(
    pieces: tuple[Piece, ...], reason: str, position: int
) -> None:
    """The first token that is not the one that was sent is named."""
    answer = answered(pieces=pieces, logprobs=(-1.0,) * len(pieces))

    assert judge_answer(answer, ENCODING) == invalid(reason, position)


def test_arrays_of_unequal_length_are_no_measurement() -> None:
    """Values cannot be assigned to tokens."""
    assert judge_answer(answered(logprobs=(-1.0, -1.0)), ENCODING) == invalid(
        "2 log-probabilities for 3 tokens"
    )


def test_ids_take_precedence_over_texts() -> None:
    """A text may be cut within a character, so it counts only where there is no id."""
    recut = (Piece(3, b"?"), Piece(4, b"?"), Piece(5, b"?"))
    texts = Encoding(prompt=(), response=(Piece(None, b" hi"),))

    assert judge_answer(answered(pieces=recut), ENCODING) == Draw(logprobs=LOGPROBS, facts=FACTS)
    for piece, is_draw in ((Piece(None, b" hi"), True), (Piece(None, b"hi"), False)):
        answer = answered(pieces=(piece,), logprobs=(-1.0,))
        assert isinstance(judge_answer(answer, texts), Draw) == is_draw


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((0.0, 0.0, 0.0), "all 3 tokens have 0"),
        ((0.0, -0.0, ROUNDING_NATS), "all 3 tokens have 0"),
        ((-9999.0,) * 3, "all 3 tokens have -9999"),
        ((-1.5, -1.5, -1.5), "all 3 tokens have -1.5"),
        ((-1.5, -9999.0, -0.25), "-9999 stands for a number that it did not compute"),
    ],
)
def test_numbers_that_stand_for_none_are_no_measurement(
    values: tuple[float, ...], shown: str
) -> None:
    """Not measured, rather than invalid: nothing is known of the model."""
    assert judge_answer(answered(logprobs=values), ENCODING) == MissedDraw(
        reason=f"this server gives no log-probabilities: {shown}",
        remedy="ask a server and a model that return the log-probabilities of a prompt",
    )


def test_a_single_token_may_be_certain() -> None:
    """Of one token alone 0 is a probability of 1."""
    one = Encoding(prompt=PROMPT, response=RESPONSE[:1])
    answer = answered(pieces=RESPONSE[:1], logprobs=(0.0,))

    assert judge_answer(answer, one) == Draw(logprobs=(0.0,), facts=FACTS)


@given(st.lists(st.none() | st.floats(), min_size=3, max_size=3))
def test_a_draw_has_only_log_probabilities(values: list[float | None]) -> None:
    """Whatever comes back, a draw is finite and never above 0, and all else names a token."""
    outcome = judge_answer(answered(logprobs=tuple(values)), ENCODING)

    match outcome:
        case Draw(logprobs=logprobs):
            assert all(math.isfinite(value) and value <= 0 for value in logprobs)
        case InvalidDraw(position=position):
            assert position is not None
        case MissedDraw(reason=reason):
            assert reason.startswith("this server gives no log-probabilities: ")
