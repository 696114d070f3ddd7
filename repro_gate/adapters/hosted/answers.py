"""What an answer says of a response: a draw, an encoding, or what is wrong with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from repro_gate.adapters.hosted.boundaries import Undecided, split, without_ids
from repro_gate.adapters.hosted.echoes import (
    Echo,
    Unreadable,
    choice_of,
    completion_tokens_of,
    echo_of,
    prompt_tokens_of,
    with_ids_beside,
)
from repro_gate.core.alignment import ScoredTwice
from repro_gate.core.draws import (
    Answered,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    Piece,
    judge_answer,
)
from repro_gate.core.policies import LogprobKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A JSON document that came back, and what it has to be read with."""

    document: Any
    facts: DrawFacts
    generated: int
    """How many tokens the model was asked to add; they are not of the response."""
    is_suffix: bool
    """Whether the end of the prompt was asked about, and not all of it."""


def read_draw(
    answer: Answer, encoding: Encoding, *, kind: LogprobKind, model: str | None
) -> DrawOutcome:
    """Return the draw that an answer is, or why it is none; no document makes this raise.

    Args:
        answer: what came back.
        encoding: what was asked about.
        kind: the log-probabilities to read; the others are none.
        model: what the answer has to call the model; None when nothing is known yet.
    """
    facts = answer.facts
    answered = Answered(pieces=(), logprobs=(), facts=facts)
    if model is None or facts.model == model:
        try:
            answered = replace(_answered(answer, encoding, kind), facts=facts)
        except Unreadable as error:
            return InvalidDraw(reason=str(error), facts=facts)
    # Another model's tokens are not looked at: they would only hide who answered.
    return judge_answer(answered, encoding, model=model)


@dataclass(frozen=True, slots=True)
class NeedsPrefix:
    """The texts of tokens do not show where the response begins: the ids of the prefix will."""


def read_encoding(
    answer: Answer, *, prefix: str, response: str, prefix_alone: Answer | None = None
) -> Encoding | InvalidDraw | NeedsPrefix:
    """Return the tokens of a text and where its response begins; no document makes this raise.

    Args:
        answer: what came back about the text.
        prefix: the text before the response.
        response: the rest.
        prefix_alone: what came back about the prefix; None when nobody has asked.
    """
    try:
        echo, count = _whole_echo(answer)
        encoding = split(
            echo.pieces[:count],
            prefix=prefix.encode("utf-8", errors="surrogatepass"),
            response=response.encode("utf-8", errors="surrogatepass"),
            prefix_ids=None if prefix_alone is None else _ids_of(prefix_alone),
        )
        _require_numbers(echo.logprobs[len(encoding.prompt) : count])
    except Undecided:
        return NeedsPrefix()
    except Unreadable as error:
        return InvalidDraw(reason=str(error), facts=answer.facts)
    return encoding if encoding.has_ids else without_ids(encoding)


def read_generated(answer: Answer) -> Echo:
    """Return the tokens that were generated; raises `Unreadable`."""
    choice = choice_of(answer.document)
    echo = with_ids_beside(echo_of(choice, LogprobKind.RAW), choice, skipped=0)
    if None in echo.logprobs or not echo.pieces:
        raise Unreadable("the answer has no log-probabilities of what was generated")
    return echo


def read_twice(answer: Answer, generated: Echo) -> ScoredTwice:
    """Return generated tokens with the log-probabilities of their echo; raises `Unreadable`.

    As a text they may be cut otherwise where they begin: what both have in common is compared.
    """
    echo, count = _whole_echo(answer)
    pairs = zip(reversed(echo.pieces[:count]), reversed(generated.pieces), strict=False)
    common = sum(1 for _ in takewhile(lambda pair: _is_one(*pair), pairs))
    if not common:
        raise Unreadable("the echo does not end in the tokens that were generated")
    return ScoredTwice(
        generated=_numbers(generated.logprobs[-common:]),
        echoed=_numbers(echo.logprobs[count - common : count]),
    )


def _is_one(one: Piece, other: Piece) -> bool:
    if one.id is not None and other.id is not None:
        return one.id == other.id
    return one.data == other.data


def _numbers(logprobs: Sequence[float | None]) -> tuple[float, ...]:
    found = tuple(value for value in logprobs if value is not None and math.isfinite(value))
    if len(found) != len(logprobs):
        raise Unreadable("a generated token has no log-probability")
    return found


def _whole_echo(answer: Answer) -> tuple[Echo, int]:
    """Return the echo of a text, and how many of its tokens are the text's."""
    choice = choice_of(answer.document)
    echo = with_ids_beside(echo_of(choice, LogprobKind.RAW), choice, skipped=0)
    return echo, _prompt_count(answer, len(echo.pieces))


def _ids_of(answer: Answer) -> tuple[int | None, ...]:
    echo, count = _whole_echo(answer)
    return tuple(piece.id for piece in echo.pieces[:count])


def _prompt_count(answer: Answer, tokens: int) -> int:
    """Return how many of the echoed tokens are the prompt's: the others were generated."""
    told = prompt_tokens_of(answer.document)
    fewest = max(0, tokens - _added(answer))
    return told if told is not None and fewest <= told <= tokens else fewest


def _added(answer: Answer) -> int:
    """Return how many tokens at the end may have been generated."""
    return max(answer.generated, completion_tokens_of(answer.document) or 0)


def _answered(answer: Answer, encoding: Encoding, kind: LogprobKind) -> Answered:
    """Return the part of an answer that is about the response."""
    sent = len(encoding.prompt) + len(encoding.response)
    read = prompt_tokens_of(answer.document)
    if read is not None and read < sent:
        raise Unreadable(f"the prompt was cut: {read} of its {sent} tokens were read")
    choice = choice_of(answer.document)
    echo = echo_of(choice, kind)
    first = _first_of_response(answer, encoding, len(echo.pieces))
    echo = with_ids_beside(echo, choice, skipped=len(encoding.prompt) - first)
    if first:
        _require_prompt(encoding.prompt, echo)
    part = slice(first, first + len(encoding.response))
    logprobs = echo.logprobs[part]
    if kind is LogprobKind.SAMPLING and all(value is None for value in logprobs):
        raise Unreadable("the answer has no sampling log-probabilities")
    return Answered(pieces=echo.pieces[part], logprobs=logprobs)


def _first_of_response(answer: Answer, encoding: Encoding, tokens: int) -> int:
    """Return where the response begins in an echo of so many tokens.

    An echo is of the response or of everything, and may end with what was generated. In a full
    echo the very first token has no condition and so no log-probability that means anything; it
    is of the prompt, which is not read.
    """
    prompt, response = len(encoding.prompt), len(encoding.response)
    firsts = (0, prompt) if answer.is_suffix else (prompt, 0)
    for first in firsts:
        if 0 <= tokens - first - response <= _added(answer):
            return first
    if tokens < response:
        # Which token is missing is told by comparison.
        return 0
    raise Unreadable(
        f"the answer is about {tokens} tokens where {response} were asked about, "
        f"or {prompt + response} with the prompt"
    )


def _require_numbers(logprobs: Sequence[float | None]) -> None:
    if all(value is None for value in logprobs):
        raise Unreadable("the answer has no log-probability for any token of the response")


def _require_prompt(prompt: tuple[Piece, ...], echo: Echo) -> None:
    for position, (want, got) in enumerate(zip(prompt, echo.pieces, strict=False)):
        same = want.id == got.id if want.id is not None else want.data == got.data
        if not same:
            raise Unreadable(
                f"the answer follows another prompt: its token {position} is {got}, "
                f"where {want} was sent"
            )
