"""What an answer contains: a draw, an encoding, a fault, or a sign of a missing capability."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from operator import itemgetter
from typing import Any, Final

from repro_gate.adapters.hosted.boundaries import Undecided, split, without_ids
from repro_gate.adapters.hosted.echoes import (
    Echo,
    OtherContent,
    Unreadable,
    choice_of,
    completion_tokens_of,
    echo_of,
    prompt_tokens_of,
    with_ids_beside,
)
from repro_gate.core.logprobs.alignment import ScoredTwice
from repro_gate.core.logprobs.draw import (
    Answered,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
    judge_answer,
)
from repro_gate.core.logprobs.policy import LogprobKind
from repro_gate.strict_json import is_table, items_at, value_at

FORM_REMEDY = (
    "fix the server's echo or the template, or gate a server that echoes the text as it was sent"
)
_MAX_BESIDE = 64
"""How far before the end of an echo the requested tokens are searched for."""
ECHO_REMEDY: Final = (
    'gate its tokens with an engine of kind = "served"; log-probabilities of prompts come from '
    'vLLM (kind = "vllm"), SGLang ("sglang") and servers that echo them, not from llama-server'
)
_NO_LOGPROBS: Final = "it gives no log-probabilities of the prompt"
_IGNORED: Final = (
    "it ignored `{}` and gave log-probabilities of generated tokens, not of the prompt"
)
_REQUIRED: Final = re.compile(
    r"\b(echo|logprobs|top_logprobs|prompt_logprobs|return_logprob|logprob_start_len)\b"
)
"""Fields that every question needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A JSON document, and what is needed to read it."""

    document: Any
    facts: DrawFacts
    generated: int
    """How many tokens the model was asked to generate; they are not part of the response."""
    is_suffix: bool
    """Whether only the end of the prompt was requested."""
    scored_by: str = "echo"
    """The field that requested log-probabilities of the prompt."""


def read_draw(
    answer: Answer, encoding: Encoding, *, kind: LogprobKind, model: str | None
) -> DrawOutcome:
    """Return the draw in an answer, or why it has none; no document makes this raise.

    Args:
        answer: the answer.
        encoding: the tokens that were requested.
        kind: the log-probabilities to read; there is no substitute for a missing kind.
        model: the model name that the answer must have; None when it is not known yet.
    """
    facts = answer.facts
    answered = Answered(pieces=(), logprobs=(), facts=facts)
    if model is None or facts.model == model:
        try:
            answered = replace(_answered(answer, encoding, kind), facts=facts)
        except Unreadable as error:
            return _not_read(error, facts)
    # The tokens of another model are not read: its name is the finding.
    return judge_answer(answered, encoding, model=model)


def _not_read(error: Unreadable, facts: DrawFacts) -> InvalidDraw | MissedDraw:
    """Return the outcome of an unreadable answer: only other content is a finding."""
    if isinstance(error, OtherContent):
        return InvalidDraw(reason=str(error), facts=facts)
    return MissedDraw(reason=str(error), remedy=FORM_REMEDY)


@dataclass(frozen=True, slots=True)
class NeedsPrefix:
    """The texts of the tokens leave open where the response starts; the prefix's ids show it."""


def read_encoding(
    answer: Answer, *, prefix: str, response: str, prefix_alone: Answer | None = None
) -> Encoding | InvalidDraw | MissedDraw | NeedsPrefix:
    """Return the tokens of a text, split before its response; no document makes this raise.

    Args:
        answer: the answer about the text.
        prefix: the text before the response.
        response: the rest.
        prefix_alone: the answer about the prefix, if it has been requested.
    """
    try:
        encoding = _divided(
            answer,
            prefix=prefix.encode("utf-8", errors="surrogatepass"),
            response=response.encode("utf-8", errors="surrogatepass"),
            prefix_alone=prefix_alone,
        )
    except Undecided:
        return NeedsPrefix()
    except Unreadable as error:
        return _not_read(error, answer.facts)
    return encoding if encoding.has_ids else without_ids(encoding)


def _divided(
    answer: Answer, *, prefix: bytes, response: bytes, prefix_alone: Answer | None
) -> Encoding:
    """Return the tokens of a text, of which the echo may have more."""
    echo = _whole_echo(answer)
    read = prompt_tokens_of(answer.document) or 0
    first_error: Unreadable | None = None
    for count in _prompt_counts(answer, len(echo.pieces)):
        ids = None if prefix_alone is None else _ids_of(prefix_alone, left_out=read - count)
        try:
            encoding = split(echo.pieces[:count], prefix=prefix, response=response, prefix_ids=ids)
        except Undecided:
            raise
        except Unreadable as error:
            first_error = first_error or error
        else:
            _require_numbers(echo.logprobs[len(encoding.prompt) : count])
            return encoding
    raise first_error or Unreadable("the answer has no tokens")


def read_chat(
    answer: Answer, *, before: Answer, response: str
) -> Encoding | InvalidDraw | MissedDraw:
    """Return the tokens of a chat that ends with a response; no document makes this raise.

    Args:
        answer: the answer about the chat.
        before: the answer about the chat up to where the response starts.
        response: the text of the response.
    """
    try:
        pieces, prefix = _whole_echo(answer).pieces, _whole_echo(before).pieces
        count = _start_of_answer(pieces, prefix)
        encoding = split(
            pieces[count - 1 :],
            prefix=prefix[-1].data,
            response=response.encode("utf-8", errors="surrogatepass"),
            prefix_ids=(prefix[-1].id,),
        )
        _require_numbers(_whole_echo(answer).logprobs[count:])
    except Unreadable as error:
        return _not_read(error, answer.facts)
    return replace(encoding, prompt=prefix)


def _start_of_answer(pieces: Sequence[Piece], prefix: Sequence[Piece]) -> int:
    """Return where the answer of a chat starts in the tokens of a longer one."""
    ids = [piece.id for piece in prefix]
    if not ids or None in ids or [piece.id for piece in pieces[: len(ids)]] != ids:
        raise Unreadable("the response does not start where the answer of the chat starts")
    return len(ids)


def ending(answer: Answer, tokens: int) -> Answer:
    """Return an answer with only the last tokens of its echo; no document makes this raise."""
    choices = [
        {**choice, "logprobs": {"content": items_at(choice, "logprobs", "content")[-tokens:]}}
        for choice in items_at(answer.document, "choices")
        if is_table(choice)
    ]
    return replace(answer, document={**answer.document, "choices": choices}, is_suffix=True)


def read_generated(answer: Answer) -> Echo:
    """Return the generated tokens; raises `Unreadable`."""
    choice = choice_of(answer.document)
    echo = with_ids_beside(echo_of(choice, LogprobKind.RAW), choice, skipped=0)
    if None in echo.logprobs or not echo.pieces:
        raise Unreadable("the answer has no log-probabilities of what was generated")
    return echo


def read_twice(answer: Answer, generated: Echo) -> ScoredTwice:
    """Return the common end of generated tokens and their echo; raises `Unreadable`.

    As a text, the first of them may be tokenized differently.
    """
    echo = _whole_echo(answer)
    counts = _prompt_counts(answer, len(echo.pieces))
    found = [(_common_suffix(echo.pieces[:count], generated.pieces), count) for count in counts]
    common, count = max(found, key=itemgetter(0))
    if not common:
        raise Unreadable("the echo does not end in the tokens that were generated")
    return ScoredTwice(
        generated=_numbers(generated.logprobs[-common:]),
        echoed=_numbers(echo.logprobs[count - common : count]),
    )


def _common_suffix(echoed: Sequence[Piece], generated: Sequence[Piece]) -> int:
    """Return the length of the common end of two sequences."""
    pairs = zip(reversed(echoed), reversed(generated), strict=False)
    return sum(1 for _ in takewhile(lambda pair: _is_same(*pair), pairs))


def _is_same(one: Piece, other: Piece) -> bool:
    if one.id is not None and other.id is not None:
        return one.id == other.id
    return one.data == other.data


def _numbers(logprobs: Sequence[float | None]) -> tuple[float, ...]:
    found = tuple(value for value in logprobs if value is not None and math.isfinite(value))
    if len(found) != len(logprobs):
        raise Unreadable("a generated token has no log-probability")
    return found


def _whole_echo(answer: Answer) -> Echo:
    choice = choice_of(answer.document)
    return with_ids_beside(echo_of(choice, LogprobKind.RAW), choice, skipped=0)


def _ids_of(answer: Answer, *, left_out: int) -> tuple[int | None, ...]:
    """Return the ids of a prompt whose echo lacks some of the tokens that usage counts."""
    echo = _whole_echo(answer)
    read = prompt_tokens_of(answer.document)
    counts = _prompt_counts(answer, len(echo.pieces))
    count = read - left_out if read is not None and read - left_out in counts else counts[0]
    return tuple(piece.id for piece in echo.pieces[:count])


def _prompt_counts(answer: Answer, tokens: int) -> Sequence[int]:
    """Return the possible numbers of prompt tokens in an echo, the likeliest first.

    The other tokens were generated. A server may count a token that it adds, and not echo it.
    """
    fewest = max(0, tokens - _max_generated(answer))
    read = prompt_tokens_of(answer.document)
    likely = () if read is None else (read, read - 1)
    found = [count for count in (*likely, fewest, tokens) if fewest <= count <= tokens]
    return list(dict.fromkeys(found))


def _max_generated(answer: Answer) -> int:
    """Return the maximum number of generated tokens at the end."""
    return max(answer.generated, completion_tokens_of(answer.document) or 0)


def _answered(answer: Answer, encoding: Encoding, kind: LogprobKind) -> Answered:
    """Return the part of an answer for the response."""
    sent = len(encoding.prompt) + len(encoding.response)
    read = prompt_tokens_of(answer.document)
    choice = choice_of(answer.document)
    echo = echo_of(choice, kind)
    # Echoed tokens were read, whatever usage counts.
    if read is not None and read < sent and len(echo.pieces) < sent:
        raise OtherContent(f"the prompt was truncated: {read} of its {sent} tokens were read")
    first = _first_of_response(answer, encoding, echo)
    echo = with_ids_beside(echo, choice, skipped=len(encoding.prompt) - first)
    if first:
        _require_prompt(encoding.prompt[-first:], echo)
    part = slice(first, first + len(encoding.response))
    logprobs = echo.logprobs[part]
    if kind is LogprobKind.SAMPLING and all(value is None for value in logprobs):
        raise Unreadable("the answer has no sampling log-probabilities")
    return Answered(pieces=echo.pieces[part], logprobs=logprobs)


def _first_of_response(answer: Answer, encoding: Encoding, echo: Echo) -> int:
    """Return where the response starts in an echo.

    An echo has the response, or the prompt as well, and may end with generated tokens. The first
    token of a full echo has no meaningful log-probability; it belongs to the prompt.
    """
    tokens, prompt, response = len(echo.pieces), len(encoding.prompt), len(encoding.response)
    firsts = [0, prompt] if answer.is_suffix else [prompt, 0]
    if _leaves_out_first(answer, encoding, echo):
        firsts.insert(0, prompt - 1)
    for first in firsts:
        if 0 <= tokens - first - response <= _max_generated(answer):
            return first
    if tokens < response:
        pairs = zip(encoding.response, echo.pieces, strict=False)
        if all(_matches(want, got) for want, got in pairs):
            raise Unreadable(f"the echo has {tokens} of the {response} tokens of the response")
        # The comparison will show which token differs.
        return 0
    error = Unreadable if _holds(echo.pieces, encoding.response) else OtherContent
    raise error(
        f"the answer has {tokens} tokens, expected {response}, "
        f"or {prompt + response} with the prompt"
    )


def _leaves_out_first(answer: Answer, encoding: Encoding, echo: Echo) -> bool:
    """Return whether a full echo lacks the first token, although it was read."""
    whole = (*encoding.prompt, *encoding.response)
    read = prompt_tokens_of(answer.document)
    was_read = read is not None and read >= len(whole) and len(encoding.prompt) > 1
    return was_read and _holds(echo.pieces[: len(whole) - 1], whole[1:])


def _holds(echoed: Sequence[Piece], asked: Sequence[Piece]) -> bool:
    """Return whether an echo has the requested tokens in a row."""
    last = len(echoed) - len(asked)
    return any(
        all(map(_matches, asked, echoed[place : place + len(asked)]))
        for place in range(max(0, last - _MAX_BESIDE), last + 1)
    )


def _matches(want: Piece, got: Piece) -> bool:
    return want.id == got.id if want.id is not None else want.data == got.data


def _require_numbers(logprobs: Sequence[float | None]) -> None:
    if all(value is None for value in logprobs):
        raise Unreadable("the answer has no log-probability for any token of the response")


def _require_prompt(prompt: tuple[Piece, ...], echo: Echo) -> None:
    for position, (want, got) in enumerate(zip(prompt, echo.pieces, strict=False)):
        if not _matches(want, got):
            raise OtherContent(
                f"the answer is for another prompt: its token {position} is {got}, not {want}"
            )


def generated_beyond_limit(answer: Answer) -> int | None:
    """Return how many tokens were generated, or None when the limit was respected."""
    made = completion_tokens_of(answer.document)
    # A server that takes 0 for 1 wastes a token, but its answer is right.
    return made if made is not None and made > max(1, answer.generated) else None


def missing_capability(answer: Answer, *, rows: int | None, text: str | None = None) -> str | None:
    """Return what a server seems unable to do, or None when its answer shows nothing like it.

    Args:
        answer: an answer that could not be used.
        rows: how many tokens it should have; None when that is not known.
        text: the prompt, when it was sent as text.
    """
    try:
        choice = choice_of(answer.document)
        if not _has_rows(choice.get("logprobs")):
            return _NO_LOGPROBS
        echo = echo_of(choice, LogprobKind.RAW)
    except Unreadable:
        return None
    count = len(echo.pieces)
    wanted = prompt_tokens_of(answer.document) if rows is None else rows
    made = max(1, answer.generated, completion_tokens_of(answer.document) or 0)
    shown = value_at(choice, "text")
    is_echoed = text is not None and isinstance(shown, str) and shown.startswith(text)
    spelled = b"".join(piece.data for piece in echo.pieces).decode("utf-8", errors="replace")
    is_only_made = spelled == shown and text is not None and not is_echoed
    if (count <= made and (wanted is None or count < wanted)) or is_only_made:
        return _NO_LOGPROBS if is_echoed else _IGNORED.format(answer.scored_by)
    # The last rows may be of generated tokens, and the first token has no condition.
    of_prompt = echo.logprobs[: max(1, count - made)]
    blanks = sum(value is None for value in of_prompt)
    return _NO_LOGPROBS if 2 * blanks > len(of_prompt) else None


def required_field_in(message: str) -> str | None:
    """Return the field that a server rejects by name although every question needs it."""
    # An answer that is quoted as a whole names every field.
    found = None if message.startswith(("{", "[")) else _REQUIRED.search(message)
    return found[1] if found else None


def _has_rows(logprobs: Any) -> bool:
    arrays = [value_at(logprobs, name) for name in ("content", "token_logprobs")]
    # Anything but an array is another fault.
    return any(array not in (None, []) for array in arrays) or not (
        logprobs is None or logprobs is False or isinstance(logprobs, dict)
    )
