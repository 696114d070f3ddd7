"""The generated tokens of an answer, and the likely tokens in the place of each."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from repro_gate.adapters.hosted.dialects import Question
from repro_gate.adapters.hosted.echoes import (
    Unreadable,
    choice_of,
    completion_tokens_of,
    echo_of,
    piece_of,
    readable,
    with_ids_beside,
)
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.logprobs.draw import Answered, DrawFacts, Piece
from repro_gate.core.logprobs.policy import MAX_TOP_LOGPROBS, LogprobKind
from repro_gate.strict_json import array, is_table, table, value_at

_Table: TypeAlias = Mapping[str, Any]
_Likely: TypeAlias = tuple[tuple[Piece, float | None], ...]
_MAX_LIKELY: Final = 8 * MAX_TOP_LOGPROBS
"""A list that is longer than what was requested is not read any further."""
_MAX_FEWEST: Final = 64
"""A server that requires more generated tokens than this is not asked."""
GENERATED_REMEDY: Final = (
    "ask a server and a model that return `logprobs` with `top_logprobs`; repro-gate probe shows "
    "which it returns"
)
_MOST: Final = re.compile(
    r"(?:<=|less than or equal to|at most|max(?:imum)?(?: allowed)?(?: value)?(?: is| of|:)?"
    r"|between 0 and|from 0 to|range \[0,)\s*(\d{1,3})\b",
    re.IGNORECASE,
)
_FEWEST: Final = re.compile(
    r"(?:>=|greater than or equal to|at least|min(?:imum)?(?: value)?(?: is| of|:)?)\s*(\d{1,3})\b",
    re.IGNORECASE,
)


class NoLogprobs(Unreadable):
    """An answer that shows that a server gives no log-probabilities of generated tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server was seen to require of a question."""

    most: int = MAX_TOP_LOGPROBS
    """Likely tokens."""
    fewest: int = 1
    """Generated tokens."""

    def applied_to(self, question: Question) -> Question:
        """Return a question that keeps the limits."""
        if not question.generate:
            return question
        generate = max(question.generate, self.fewest)
        return replace(question, generate=generate, top=min(question.top, self.most))

    def named_in(self, message: str, question: Question) -> "Limits":
        """Return the limits with those that a rejection of a question names."""
        most, fewest = self.most, self.fewest
        if question.top and "logprobs" in message:
            limits = [int(found[1]) for found in _MOST.finditer(message)]
            most = max((one for one in limits if 0 < one < question.top), default=most)
        if question.generate and "token" in message:
            limits = [int(found[1]) for found in _FEWEST.finditer(message)]
            allowed = (one for one in limits if question.generate < one <= _MAX_FEWEST)
            fewest = min(allowed, default=fewest)
        return Limits(most=most, fewest=fewest)


def read_generation(document: Any, facts: DrawFacts, *, top: int) -> Answered:
    """Return the generated tokens of an answer without an echo; raises `Unreadable`.

    Args:
        document: the answer.
        facts: what is known of its call.
        top: the number of likely tokens to keep for each place.
    """
    choice = choice_of(document)
    if not _has_rows(choice):
        raise _without_rows(document, choice)
    echo = with_ids_beside(echo_of(choice, LogprobKind.RAW), choice, skipped=0)
    likely = tuple(_best(one, top) for one in _likely_of(choice, len(echo.pieces)))
    return Answered(pieces=echo.pieces, logprobs=echo.logprobs, facts=facts, alternatives=likely)


def without_key(answered: Answered, key: Secret, *, tokens: int) -> Answered:
    """Return the first tokens of an answer without the key, which a server may return.

    Raises:
        Unreadable: several tokens together spell the key.
    """
    pieces, logprobs = answered.pieces[:tokens], answered.logprobs[:tokens]
    likely = answered.alternatives[:tokens]
    texts = [piece.data for piece in pieces]
    texts += [piece.data for one in likely for piece, _ in one]
    text = b"".join(texts)
    if key.scrub_bytes(text) != text:
        # Masked alone, equal tokens stay equal.
        masked = b"".join(key.scrub_bytes(one) for one in texts)
        if key.scrub_bytes(masked) != masked:
            raise Unreadable("the generated tokens spell the key")
        pieces = tuple(_masked(piece, key) for piece in pieces)
        likely = tuple(
            tuple((_masked(piece, key), value) for piece, value in one) for one in likely
        )
    return replace(answered, pieces=pieces, logprobs=logprobs, alternatives=likely)


def _masked(piece: Piece, key: Secret) -> Piece:
    return replace(piece, data=key.scrub_bytes(piece.data))


def _has_rows(choice: Any) -> bool:
    """Return whether a choice has log-probabilities of any token."""
    logprobs = value_at(choice, "logprobs")
    return any(value_at(logprobs, name) for name in ("content", "token_logprobs"))


def _without_rows(document: Any, choice: Any) -> Unreadable:
    if value_at(choice, "logprobs", "refusal"):
        return Unreadable("the model refused to answer")
    made = completion_tokens_of(document)
    text = value_at(choice, "text") or value_at(choice, "message", "content")
    if made and not text:
        # It may be otherwise after another prompt.
        return Unreadable(f"the {made} generated tokens have no text: the model reasons before it")
    return NoLogprobs("it gives no log-probabilities of generated tokens")


@readable()
def _likely_of(choice: _Table, tokens: int) -> Sequence[_Likely]:
    logprobs = table(choice.get("logprobs"), "logprobs")
    if logprobs.get("content") is not None:
        rows = [table(row, "logprobs.content") for row in logprobs["content"]]
        return [_of_rows(row.get("top_logprobs")) for row in rows]
    found = array(logprobs.get("top_logprobs") or [None] * tokens, "logprobs.top_logprobs")
    if len(found) != tokens:
        raise Unreadable(f"{tokens} tokens, but {len(found)} lists of likely ones")
    return [_of_texts(one) if is_table(one) else _of_rows(one) for one in found]


def _of_rows(rows: Any) -> _Likely:
    """Return tokens with their values from a list of objects."""
    found = [table(row, "top_logprobs") for row in array(rows or [], "top_logprobs")[:_MAX_LIKELY]]
    return tuple(piece_of(row) for row in found)


def _of_texts(values: _Table) -> _Likely:
    """Return tokens with their values from an object whose keys are texts."""
    rows = ({"token": text, "logprob": value} for text, value in values.items())
    return tuple(piece_of(row) for row, _ in zip(rows, range(_MAX_LIKELY), strict=False))


def _best(likely: _Likely, top: int) -> _Likely:
    """Return the best tokens, best first: some servers add the sampled token to those requested."""
    ranked = sorted(likely, key=lambda one: -math.inf if one[1] is None else one[1], reverse=True)
    return tuple(ranked[:top])
