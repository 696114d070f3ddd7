"""Where a response starts: at a byte of the text, and between two tokens."""

import contextlib
import resource
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from repro_gate.adapters.hosted.answers import Answer, NeedsPrefix, read_encoding
from repro_gate.adapters.hosted.boundaries import split
from repro_gate.adapters.hosted.echoes import Unreadable
from repro_gate.core.logprobs.draw import DrawFacts, Encoding, InvalidDraw, MissedDraw, Piece
from tests.fakes.hosted import (
    ENCODING,
    PROMPT,
    RESPONSE,
    TEXT_ENCODING,
    content_of,
    document_of,
    legacy_of,
)
from tests.fakes.processes import raised_in_a_child

EMOJI = "\N{GRINNING FACE}".encode()


def _split(
    pieces: tuple[Piece, ...],
    *,
    prefix: str = "Say hi:",
    response: str = " Hello you",
    generated: int = 0,
    **changes: Any,
) -> Encoding | InvalidDraw | MissedDraw:
    document = document_of(content_of(pieces, [-1.0] * len(pieces)), **{"usage": None, **changes})
    answer = Answer(document=document, facts=DrawFacts(), generated=generated, is_suffix=False)
    found = read_encoding(answer, prefix=prefix, response=response)
    assert not isinstance(found, NeedsPrefix)
    return found


def _reason(*pieces: Piece, **asked: Any) -> str:
    found = _split(pieces, **asked)
    assert isinstance(found, MissedDraw)
    return found.reason


def test_a_text_is_split_between_two_tokens() -> None:
    """The BOS token belongs to the prompt, although it is not in the text."""
    assert _split((*PROMPT, *RESPONSE)) == ENCODING


def test_without_ids_no_token_has_one() -> None:
    """A provider without ids is later sent text."""
    document = document_of(legacy_of(has_ids=False))
    answer = Answer(document=document, facts=DrawFacts(), generated=0, is_suffix=False)

    assert read_encoding(answer, prefix="Say hi:", response=" Hello you") == TEXT_ENCODING


def test_ids_are_dropped_when_one_is_missing() -> None:
    """A missing id cannot be sent."""
    assert _split((Piece(None, b"<s>"), *PROMPT[1:], *RESPONSE)) == TEXT_ENCODING


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 6}, {"prompt_tokens": 60}])
def test_a_generated_token_is_dropped_by_count(usage: Any) -> None:
    """A token that the server had to generate is not part of the text."""
    pieces = (*PROMPT, *RESPONSE, Piece(99, b"!"))

    assert _split(pieces, generated=1, usage=usage) == ENCODING


def test_a_server_may_generate_nothing() -> None:
    """Usage shows where the prompt ends."""
    usage = {"prompt_tokens": 6}

    assert _split((*PROMPT, *RESPONSE), generated=1, usage=usage) == ENCODING


def test_a_character_may_be_split_among_tokens() -> None:
    """Bytes are compared, as half an emoji is not text."""
    response = (Piece(30, EMOJI[:2]), Piece(31, EMOJI[2:]))

    found = _split((*PROMPT, *response), response=EMOJI.decode())

    assert found == Encoding(prompt=PROMPT, response=response)


def test_a_token_across_the_boundary_is_named() -> None:
    """The tokenizer joined the end of the prompt and the start of the response."""
    assert _reason(PROMPT[0], Piece(5, b"Say hi: Hello"), RESPONSE[1]) == (
        'the response starts within the token 5 "Say hi: Hello": '
        "change the end of the template or the start of the response"
    )


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        (
            (*PROMPT, Piece(20, b" hello"), RESPONSE[1]),
            'at its byte 8 is the token 20 " hello"',
        ),
        (
            (Piece(2, b"\xe2\x96\x81Say"), *PROMPT[2:], *RESPONSE),
            'at its byte 0 is the token 11 " hi"',
        ),
        ((*PROMPT, *RESPONSE, Piece(6, b".")), 'at its byte 17 is the token 6 "."'),
        ((*PROMPT, RESPONSE[0]), "at its byte 13 is nothing"),
        ((), "at its byte 0 is nothing"),
        ((*PROMPT[:-1], PROMPT[0], PROMPT[-1], *RESPONSE), 'is the token 1 "<s>"'),
        ((Piece(4, b"<s>Say"), *PROMPT[2:], *RESPONSE), 'is the token 11 " hi"'),
    ],
)
def test_tokens_must_spell_the_text(pieces: tuple[Piece, ...], reason: str) -> None:
    """Omitted, added or differently spelled tokens cannot be measured."""
    found = _reason(*pieces)

    assert found.startswith("the tokens do not spell the text that was sent: at its byte ")
    assert found.endswith(reason)


@pytest.mark.parametrize(("other", "byte"), [(" Hallo", 9), (" Hey, lots", 10), (" Helloo", 13)])
def test_tokens_of_another_text_are_invalid(other: str, byte: int) -> None:
    """The answer is about another text, even where its tokens contain ours."""
    found = _split((*PROMPT, Piece(22, other.encode()), RESPONSE[1]))

    assert found == InvalidDraw(
        reason=f"the tokens do not spell the text that was sent: at its byte {byte} is the "
        f'token 22 "{other}"',
        facts=DrawFacts(),
    )


@pytest.mark.parametrize("generated", [(Piece(None, b"!"),), ()])
def test_an_echo_may_lack_a_token_that_usage_counts(generated: tuple[Piece, ...]) -> None:
    """The server adds a BOS token, reads it, and does not echo it."""
    pieces = tuple(Piece(None, piece.data) for piece in (*PROMPT[1:], *RESPONSE))

    assert _split((*pieces, *generated), generated=1, usage={"prompt_tokens": 6}) == Encoding(
        prompt=pieces[:3], response=pieces[3:]
    )


def test_a_token_missing_from_the_echo_is_missing_from_the_prefix() -> None:
    """A token generated after the prefix is not part of the prefix."""
    half, rest = Piece(30, EMOJI[:2]), Piece(31, EMOJI[2:])
    whole = (*PROMPT[1:], Piece(30, b"\xef\xbf\xbd"), Piece(31, b"\xef\xbf\xbd"), Piece(6, b"."))
    alone = (*PROMPT[1:], half)

    def answer(pieces: tuple[Piece, ...], read: int) -> Answer:
        logprobs = content_of(tuple(Piece(p.id, p.data) for p in pieces), [-1.0] * len(pieces))
        document = document_of(logprobs, usage={"prompt_tokens": read})
        return Answer(document=document, facts=DrawFacts(), generated=1, is_suffix=False)

    found = read_encoding(
        answer(whole, 6),
        prefix="Say hi:",
        response=EMOJI.decode(),
        prefix_alone=answer(alone, 4),
    )

    assert isinstance(found, Encoding)
    assert ([p.id for p in found.prompt], [p.id for p in found.response]) == (
        [p.id for p in PROMPT[1:]],
        [half.id, rest.id],
    )


def test_a_special_token_may_have_no_text() -> None:
    """A server omits its text; its neighbours show the boundary."""
    texts = (b"", b"user", b"\n", b"hi", b"", b"\n", b" Hello", b" you")
    pieces = tuple(Piece(None, text) for text in texts)

    assert _split(pieces, prefix="<|start|>user\nhi<|end|>\n") == Encoding(
        prompt=pieces[:6], response=pieces[6:]
    )


def test_a_first_token_without_condition_is_refused() -> None:
    """The first position of an echo has no meaningful log-probability."""
    assert _reason(*RESPONSE, prefix="") == (
        "the first token of the response has no log-probability, as nothing comes before it: "
        "let the template start with some text"
    )


@pytest.mark.parametrize("bos", [b"", b"<s>"])
def test_a_bos_token_is_a_sufficient_condition(bos: bytes) -> None:
    """A BOS token may have no text."""
    first = Piece(1, bos)

    assert _split((first, *RESPONSE), prefix="") == Encoding(prompt=(first,), response=RESPONSE)


def test_a_token_without_text_belongs_to_neither_side() -> None:
    """Without ids the place of an empty text is not known."""
    pieces = (*PROMPT, Piece(8, b""), *RESPONSE)
    assert _reason(*(Piece(None, piece.data) for piece in pieces)) == (
        "the response starts at a character that is split into several tokens, and without ids "
        "the boundary is not clear: "
        "change the end of the template or the start of the response"
    )


@pytest.mark.parametrize(
    "literals",
    [
        lambda text: [b"e"] * text.count(b"e"),
        lambda text: [text[place : place + 5] for place in range(0, len(text), 9)],
    ],
    ids=["the same", "others"],
)
def test_the_boundary_is_found_in_bounded_time(
    literals: Callable[[bytes], Sequence[bytes]],
) -> None:
    """Tokens without text between frequent ones take seconds, whatever the server sends."""
    prefix = b"the sleeper ate \xf0\x9f\x99\x82 " * 3000
    pairs = [(Piece(5, b""), Piece(6, literal)) for literal in literals(prefix)]
    pieces = [piece for pair in pairs for piece in pair]

    def search() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
        with contextlib.suppress(Unreadable):
            split(pieces, prefix=prefix, response=b" yes e")

    assert raised_in_a_child(search) is None
