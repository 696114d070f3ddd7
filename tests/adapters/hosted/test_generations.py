"""Generated tokens and their alternatives in each format, and what a rejection allows."""

from typing import Any

import pytest

from repro_gate.adapters.hosted.dialects import Question
from repro_gate.adapters.hosted.echoes import Unreadable
from repro_gate.adapters.hosted.generations import (
    Limits,
    NoLogprobs,
    read_generation,
    without_key,
)
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.logprobs.draw import Answered, DrawFacts, Piece
from tests.fakes.hosted import KEY, document_of

ASKED = Question(model="m", temperature=0.0, prompt="x", generate=1, top=20)


def _row(text: str, value: Any, *, top: Any = (), **more: Any) -> dict[str, Any]:
    return {"token": text, "logprob": value, "top_logprobs": list(top), **more}


def read(logprobs: Any, *, top: int = 20, choice: Any = None, **changes: Any) -> Answered:
    """Return what an answer with these log-probabilities shows."""
    document = document_of(logprobs, choice=choice, **changes)
    return read_generation(document, DrawFacts(), top=top)


TWO = ((Piece(None, b"Hi"), -0.5), (Piece(None, b"Yo"), -1.5))
FORMATS: dict[str, tuple[Any, Any, tuple[tuple[Piece, float | None], ...]]] = {
    "content of OpenAI": (
        {"content": [_row("Hi", -0.5, bytes=[72, 105], top=[_row("Yo", -1.5), _row("Hi", -0.5)])]},
        {},
        TWO,
    ),
    "content of llama_cpp.server": (
        {
            "content": [
                _row("Hi", -0.5, bytes=None, top=[_row("Hi", -0.5), _row("Yo", -1.5, bytes=None)])
            ]
        },
        {},
        TWO,
    ),
    "content of llama-server": (
        {
            "content": [
                _row("", -0.5, id=7, bytes=[240, 159], top=[_row("", -0.5, id=7, bytes=[240])])
            ]
        },
        {},
        ((Piece(7, b"\xf0"), -0.5),),
    ),
    "lists of OpenAI": (
        {"tokens": ["Hi"], "token_logprobs": [-0.5], "top_logprobs": [{"Hi": -0.5, "Yo": -1.5}]},
        {},
        TWO,
    ),
    "lists of vLLM by id": (
        {
            "tokens": ["token_id:5"],
            "token_logprobs": [-0.5],
            "top_logprobs": [{"token_id:5": -0.5, "token_id:6": -1.5}],
        },
        {"token_ids": [5], "prompt_token_ids": [1]},
        ((Piece(5, b""), -0.5), (Piece(6, b""), -1.5)),
    ),
    "lists without alternatives": ({"tokens": ["Hi"], "token_logprobs": [-0.5]}, {}, ()),
    "an alternative without a value": (
        {"content": [_row("Hi", -0.5, top=[_row("Hi", -0.5), _row("Yo", None)])]},
        {},
        ((Piece(None, b"Hi"), -0.5), (Piece(None, b"Yo"), None)),
    ),
}


@pytest.mark.parametrize("case", FORMATS)
def test_alternatives_are_read_best_first(case: str) -> None:
    """With ids and bytes where the server has them."""
    logprobs, choice, expected = FORMATS[case]

    answered = read(logprobs, choice=choice)

    assert answered.alternatives == (expected,)
    assert answered.logprobs == (-0.5,)


def test_more_alternatives_than_requested_are_cut_off() -> None:
    """Some servers add the token that was sampled."""
    top = [_row("a", -3.0), _row("b", -1.0), _row("c", -2.0)]

    answered = read({"content": [_row("a", -3.0, top=top)]}, top=2)

    assert [piece.data for piece, _ in answered.alternatives[0]] == [b"b", b"c"]


UNREADABLE: dict[str, tuple[Any, Any, Any, str]] = {
    "no log-probabilities": (
        None,
        {"text": "Hi", "logprobs": None},
        {},
        "it gives no log-probabilities of generated tokens",
    ),
    "a refusal": ({"content": [], "refusal": [1]}, {}, {}, "the model refused to answer"),
    "reasoning": (
        {"content": []},
        {"text": None, "message": {"content": ""}},
        {"usage": {"completion_tokens": 16}},
        "the 16 generated tokens have no text: the model reasons before it",
    ),
    "another number of lists": (
        {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{}, {}]},
        {},
        {},
        "1 tokens, but 2 lists of likely ones",
    ),
    "no object": (
        {"content": [_row("a", -1.0, top=[5])]},
        {},
        {},
        "top_logprobs: expected an object, found 5",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_answer_without_values_has_a_reason(case: str) -> None:
    """One safe line."""
    logprobs, choice, changes, reason = UNREADABLE[case]

    with pytest.raises(Unreadable) as raised:
        read(logprobs, choice=choice, **changes)

    assert str(raised.value) == reason
    assert isinstance(raised.value, NoLogprobs) == (case == "no log-probabilities")


REJECTED = {
    "Requested sample logprobs of 20, which is greater than max allowed: 5": Limits(most=5),
    "Input should be less than or equal to 5, field: 'logprobs', value: 20": Limits(most=5),
    "top_logprobs must be between 0 and 8": Limits(most=8),
    "Invalid 'top_logprobs': integer above maximum value. Expected a value <= 5, but got 20 "
    "instead.": Limits(most=5),
    "logprobs: the maximum is 11.": Limits(most=11),
    "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 1 "
    "instead.": Limits(fewest=16),
    "max_tokens must be at least 4": Limits(fewest=4),
    "max_tokens must be at least 4096": Limits(),
    "top_logprobs must be between 0 and 20": Limits(),
    "logprobs are not supported": Limits(),
    "at most 5 messages": Limits(),
    "": Limits(),
}


@pytest.mark.parametrize("message", REJECTED)
def test_a_rejection_names_its_limit(message: str) -> None:
    """As OpenAI, vLLM, Ollama and pydantic phrase it."""
    assert Limits().named_in(message, ASKED) == REJECTED[message]


def test_a_question_keeps_the_limits() -> None:
    """One that only scores has none."""
    limits = Limits(most=5, fewest=16)
    scoring = Question(model="m", temperature=0.0, prompt="x")

    asked = limits.applied_to(ASKED)

    assert (asked.generate, asked.top) == (16, 5)
    assert limits.applied_to(scoring) == scoring


def test_the_key_is_masked_in_each_token() -> None:
    """Equal tokens stay equal."""
    echoed = KEY.encode()
    likely = ((Piece(None, echoed), -1.0), (Piece(None, b"no"), -2.0))
    answered = Answered(pieces=(Piece(None, echoed),), logprobs=(-1.0,), alternatives=(likely,))

    safe = without_key(answered, Secret(KEY), tokens=1)

    assert safe.pieces == (Piece(None, b"***"),)
    assert safe.alternatives == (((Piece(None, b"***"), -1.0), (Piece(None, b"no"), -2.0)),)


def test_tokens_that_spell_the_key_together_are_not_read() -> None:
    """A part of it is in each of them."""
    pieces = tuple(Piece(None, KEY[place : place + 6].encode()) for place in range(0, len(KEY), 6))
    answered = Answered(pieces=pieces, logprobs=(-1.0,) * len(pieces))

    with pytest.raises(Unreadable, match="spell the key"):
        without_key(answered, Secret(KEY), tokens=99)


def test_only_the_wanted_tokens_are_kept() -> None:
    """A server may require more than one to be generated."""
    rows = [_row("a", -1.0, top=[_row("a", -1.0)]), _row("b", -1.0)]

    kept = without_key(read({"content": rows}), Secret(), tokens=1)

    assert (len(kept.pieces), len(kept.logprobs), len(kept.alternatives)) == (1, 1, 1)
