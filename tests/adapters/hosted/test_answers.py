"""Both formats of an answer, and everything that makes one invalid or unreadable."""

import json
from dataclasses import replace
from typing import Any

import pytest

from repro_gate.adapters.hosted.answers import (
    FORM_REMEDY,
    Answer,
    read_draw,
    read_generated,
    read_twice,
)
from repro_gate.core.logprobs.alignment import ScoredTwice
from repro_gate.core.logprobs.draw import (
    Draw,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
)
from repro_gate.core.logprobs.policy import LogprobKind
from tests.fakes.hosted import (
    ENCODING,
    LOGPROBS,
    MODEL,
    PROMPT,
    RESPONSE,
    TEXT_ENCODING,
    content_of,
    document_of,
    legacy_of,
)

FACTS = DrawFacts(model=MODEL)
EVERYTHING = (*PROMPT, *RESPONSE)
ALL_LOGPROBS = (-30.0, -9.0, -9.0, -9.0, *LOGPROBS)
GENERATED = Piece(99, b"!")


def _read(
    document: Any,
    *,
    encoding: Encoding = ENCODING,
    kind: LogprobKind = LogprobKind.RAW,
    model: str | None = None,
    is_suffix: bool = True,
    generated: int = 0,
) -> DrawOutcome:
    answer = Answer(document=document, facts=FACTS, generated=generated, is_suffix=is_suffix)
    return read_draw(answer, encoding, kind=kind, model=model)


def _reason(document: Any, **asked: Any) -> str:
    found = _read(document, **asked)
    assert isinstance(found, InvalidDraw)
    return found.reason


def _changed(row: int, changes: Any) -> Any:
    """Return a valid answer with one row changed."""
    content = content_of()
    content["content"][row] |= changes
    return document_of(content)


def _without(row: int, *names: str) -> Any:
    content = content_of()
    for name in names:
        del content["content"][row][name]
    return document_of(content)


@pytest.mark.parametrize(
    ("logprobs", "asked"),
    [
        (content_of(), {}),
        (content_of(EVERYTHING, ALL_LOGPROBS), {"is_suffix": False}),
        (content_of(EVERYTHING, ALL_LOGPROBS), {}),
        (content_of((*RESPONSE, GENERATED), (*LOGPROBS, -3.0)), {"generated": 1}),
        (
            content_of((*EVERYTHING, GENERATED), (*ALL_LOGPROBS, -3.0)),
            {"generated": 1, "is_suffix": False},
        ),
        (legacy_of(), {"is_suffix": False}),
        (legacy_of(RESPONSE, LOGPROBS), {}),
        (legacy_of(has_ids=False), {"is_suffix": False, "encoding": TEXT_ENCODING}),
    ],
    ids=[
        "content",
        "content, all",
        "content, all though the end was asked for",
        "content, a token generated",
        "content, all, a token generated",
        "legacy, all",
        "legacy",
        "legacy, all, no ids",
    ],
)
def test_every_format_is_read(logprobs: Any, asked: Any) -> None:
    """The response is located by what the echo contains; the first position of all is dropped."""
    assert _read(document_of(logprobs), **asked) == Draw(logprobs=LOGPROBS, facts=FACTS)


@pytest.mark.parametrize("is_suffix", [True, False])
@pytest.mark.parametrize("has_all_in_one", [True, False])
def test_ids_outside_of_the_logprobs_are_read(*, is_suffix: bool, has_all_in_one: bool) -> None:
    """Ids may be listed for the whole prompt and completion."""
    ids = [piece.id for piece in EVERYTHING]
    pieces = RESPONSE if is_suffix else EVERYTHING
    logprobs = legacy_of(pieces, ALL_LOGPROBS[-len(pieces) :], has_ids=False)
    beside = (
        {"token_ids": ids[-len(pieces) :]}
        if has_all_in_one
        else {"prompt_token_ids": ids, "token_ids": [GENERATED.id]}
    )
    document = document_of(logprobs, choice=beside)

    assert _read(document, is_suffix=is_suffix) == Draw(logprobs=LOGPROBS, facts=FACTS)


def test_other_ids_outside_of_the_logprobs_are_invalid() -> None:
    """They are compared with the ids that were sent, like any others."""
    ids = [*(piece.id for piece in PROMPT), 20, 22]
    document = document_of(
        legacy_of(RESPONSE, LOGPROBS, has_ids=False), choice={"prompt_token_ids": ids}
    )

    assert _reason(document) == 'the answer is about 22 " you", where 21 " you" was asked'


_NO_SAMPLING = "the answer has no sampling log-probabilities"


def test_sampling_logprobs_are_read_by_their_name() -> None:
    """A policy of the sampling kind gets only these."""
    document = document_of(content_of(sampling=(-0.25, -2.0)))

    assert _read(document, kind=LogprobKind.SAMPLING) == Draw(logprobs=(-0.25, -2.0), facts=FACTS)


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        (content_of(), MissedDraw(reason=_NO_SAMPLING, remedy=FORM_REMEDY)),
        (legacy_of(RESPONSE, LOGPROBS), MissedDraw(reason=_NO_SAMPLING, remedy=FORM_REMEDY)),
        (
            content_of(sampling=(-0.25, None)),
            InvalidDraw(reason='no log-probability for 21 " you"', position=1, facts=FACTS),
        ),
    ],
)
def test_raw_never_replaces_sampling(logprobs: Any, expected: DrawOutcome) -> None:
    """Without sampling log-probabilities there is no draw."""
    assert _read(document_of(logprobs), kind=LogprobKind.SAMPLING) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NaN", 'the log-probability nan for 21 " you"'),
        ("Infinity", 'the log-probability inf for 21 " you"'),
        ("-Infinity", 'the log-probability -inf for 21 " you"'),
        ("1e999", 'the log-probability inf for 21 " you"'),
        ("1" + "0" * 400, 'the log-probability inf for 21 " you"'),
        ("-1" + "0" * 400, 'the log-probability -inf for 21 " you"'),
        ("null", 'no log-probability for 21 " you"'),
        ("0.25", 'the log-probability 0.25 for 21 " you"'),
    ],
)
def test_an_invalid_logprob_names_its_token(value: str, reason: str) -> None:
    """NaN, infinity, null and positive numbers are invalid; the reason names the position."""
    document = json.loads(json.dumps(document_of()).replace("-1.25", value))

    assert _read(document) == InvalidDraw(reason=reason, position=1, facts=FACTS)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "the answer: expected an object, found an empty list"),
        ({}, "choices: expected a list, found nothing"),
        (document_of(choices=[]), "the answer has 0 choices, expected 1"),
        (document_of(choices=[{}, {}]), "the answer has 2 choices, expected 1"),
        (document_of(choices=["x"]), "choices[0]: expected an object, found a string"),
        (
            document_of(choice={"logprobs": None}),
            "logprobs: expected an object, found nothing",
        ),
        (document_of({}), "logprobs.token_logprobs: expected a list, found nothing"),
        (
            document_of({"content": {}}),
            "logprobs.content: expected a list, found an object",
        ),
        (document_of({"content": [1, 2]}), "logprobs.content[0]: expected an object, found 1"),
        (
            document_of(legacy_of(RESPONSE, LOGPROBS) | {"tokens": ["x"]}),
            "2 log-probabilities for 1 tokens",
        ),
        (
            document_of(legacy_of(RESPONSE, LOGPROBS) | {"token_ids": [1, 2, 3]}),
            "2 log-probabilities for 3 token_ids",
        ),
        (
            document_of({"token_logprobs": [-1, -1]}),
            "a token has neither an id nor a text",
        ),
        (_without(0, "token", "bytes", "token_id"), "a token has neither an id nor a text"),
        (
            _changed(0, {"logprob": "-0.5"}),
            "log-probability: expected a number, found a string",
        ),
        (
            _changed(0, {"logprob": True}),
            "log-probability: expected a number, found true",
        ),
        (
            _changed(0, {"token_id": True}),
            "token id: expected an integer from 0 to 2147483647, found true",
        ),
        (
            _changed(0, {"token_id": 10**400}),
            "token id: expected an integer from 0 to 2147483647, found a very large number",
        ),
        (
            _changed(0, {"bytes": [256]}),
            "token bytes[0]: expected an integer from 0 to 255, found 256",
        ),
        (_changed(0, {"bytes": [1] * 5000}), "a token has 5000 bytes"),
        (
            _changed(0, {"bytes": None, "token": 1}),
            "token text: expected a string, found 1",
        ),
        (_changed(0, {"bytes": None, "token": "x" * 5000}), "a token has 5000 characters"),
    ],
)
def test_a_malformed_answer_is_not_measured(document: Any, reason: str) -> None:
    """Missing lists, unequal lengths and wrong types show nothing wrong with the model."""
    assert _read(document) == MissedDraw(reason=reason, remedy=FORM_REMEDY)


def test_a_truncated_prompt_is_invalid() -> None:
    """The model read another text."""
    reason = "the prompt was truncated: 5 of its 6 tokens were read"

    assert _read(document_of(usage={"prompt_tokens": 5})) == InvalidDraw(reason=reason, facts=FACTS)


def test_a_full_echo_was_read_whatever_usage_counts() -> None:
    """Usage may not count the BOS token."""
    document = document_of(content_of(EVERYTHING, ALL_LOGPROBS), usage={"prompt_tokens": 5})

    assert _read(document, is_suffix=False) == Draw(logprobs=LOGPROBS, facts=FACTS)


@pytest.mark.parametrize("generated", [(), (GENERATED,)])
def test_an_echo_may_lack_the_token_that_the_server_added(
    generated: tuple[Piece, ...],
) -> None:
    """Usage counts it, so it was read; the other tokens are those that were sent."""
    pieces = (*PROMPT[1:], *RESPONSE, *generated)
    logprobs = content_of(pieces, [*ALL_LOGPROBS[1:], -3.0][: len(pieces)])
    document = document_of(logprobs, usage={"prompt_tokens": 6, "completion_tokens": 1})

    assert _read(document, is_suffix=False) == Draw(logprobs=LOGPROBS, facts=FACTS)


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        (RESPONSE[:1], "the echo has 1 of the 2 tokens of the response"),
        (
            (*RESPONSE, GENERATED),
            "the answer has 3 tokens, expected 2, or 6 with the prompt",
        ),
    ],
)
def test_the_same_tokens_in_another_number_are_not_measured(
    pieces: tuple[Piece, ...], reason: str
) -> None:
    """An echo that is too short or too long has the right content as far as it goes."""
    document = document_of(content_of(pieces, [-1.0] * len(pieces)))

    assert _read(document) == MissedDraw(reason=reason, remedy=FORM_REMEDY)


@pytest.mark.parametrize(
    "usage", [None, [], {}, {"prompt_tokens": "6"}, {"prompt_tokens": 10**400}]
)
def test_usage_is_optional(usage: Any) -> None:
    """An answer without usage is as good as any other."""
    assert _read(document_of(usage=usage)) == Draw(logprobs=LOGPROBS, facts=FACTS)


def test_ids_are_compared_rather_than_texts() -> None:
    """A token with half of a character has no text of its own, but an id."""
    document = _changed(1, {"token": "\ufffd", "bytes": None})

    assert _read(document) == Draw(logprobs=LOGPROBS, facts=FACTS)


@pytest.mark.parametrize(
    ("pieces", "reason", "position"),
    [
        (
            (RESPONSE[0], Piece(7, b" me")),
            'the answer is about 7 " me", where 21 " you" was asked',
            1,
        ),
        (
            (RESPONSE[0], Piece(None, b" you")),
            'the answer is about " you", where 21 " you" was asked',
            1,
        ),
        ((RESPONSE[1],), 'the answer is about 21 " you", where 20 " Hello" was asked', 0),
        (
            (RESPONSE[0], GENERATED, RESPONSE[1]),
            "the answer has 3 tokens, expected 2, or 6 with the prompt",
            None,
        ),
        (
            (Piece(5, b"<s>"), *PROMPT[1:], *RESPONSE),
            'the answer is for another prompt: its token 0 is 5 "<s>", not 1 "<s>"',
            None,
        ),
    ],
)
def test_other_tokens_are_invalid(
    pieces: tuple[Piece, ...], reason: str, position: int | None
) -> None:
    """The echo is compared with the request, token by token, before anything is summed."""
    document = document_of(content_of(pieces, [-1.0] * len(pieces)))

    assert _read(document) == InvalidDraw(reason=reason, position=position, facts=FACTS)


def test_other_texts_are_invalid_without_ids() -> None:
    """Without ids the bytes are compared."""
    pieces = (*EVERYTHING[:-1], Piece(None, b" me"))
    document = document_of(legacy_of(pieces, ALL_LOGPROBS, has_ids=False))

    assert _reason(document, encoding=TEXT_ENCODING, is_suffix=False) == (
        'the answer is about " me", where " you" was asked'
    )


def test_another_model_is_reported_whatever_its_tokens() -> None:
    """Its answer is no draw, and its tokens are not mentioned."""
    document = document_of(content_of((GENERATED,), (-1.0,)))

    assert _reason(document, model="accounts/test/models/other") == (
        f"the model {MODEL!r} answered in place of 'accounts/test/models/other'"
    )
    assert _read(document_of(), model=MODEL) == Draw(logprobs=LOGPROBS, facts=FACTS)


def test_a_prompt_of_one_token_is_not_taken_for_a_generated_one() -> None:
    """Where both counts fit, the request decides."""
    short = replace(ENCODING, prompt=PROMPT[:1])
    everything = content_of((PROMPT[0], *RESPONSE), (-30.0, *LOGPROBS))
    ended = content_of((*RESPONSE, GENERATED), (*LOGPROBS, -3.0))

    full = _read(document_of(everything), encoding=short, is_suffix=False, generated=1)
    suffix = _read(document_of(ended), encoding=short, is_suffix=True, generated=1)

    assert full == suffix == Draw(logprobs=LOGPROBS, facts=FACTS)


@pytest.mark.parametrize("left_out", [0, 1])
def test_generated_tokens_are_found_in_an_echo_whatever_usage_counts(left_out: int) -> None:
    """One more generated token may follow them, and the BOS token may be missing."""
    pieces = (*EVERYTHING, GENERATED)[left_out:]
    usage = {"prompt_tokens": len(EVERYTHING), "completion_tokens": 1}
    document = document_of(content_of(pieces, [-2.0] * len(pieces)), usage=usage)
    own, echo = (
        Answer(document=one, facts=FACTS, generated=count, is_suffix=False)
        for one, count in ((document_of(), len(RESPONSE)), (document, 1))
    )

    assert read_twice(echo, read_generated(own)) == ScoredTwice(
        generated=LOGPROBS, echoed=(-2.0, -2.0)
    )
