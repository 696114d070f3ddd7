"""The tokens and log-probabilities in an answer, in either of two formats."""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from repro_gate.core.logprobs.draw import Piece
from repro_gate.core.logprobs.policy import LogprobKind
from repro_gate.core.tokens.generation import MAX_TOKEN_BYTES
from repro_gate.strict_json import (
    InvalidJson,
    array,
    integer,
    is_number,
    kind_of,
    list_of,
    string,
    table,
    value_at,
)

_MAX_ID = 2**31 - 1
_NAMED_BY_ID = re.compile(r"token_id:(\d{1,10})")
"""How vLLM writes tokens that are requested as ids."""
_FIELDS = {LogprobKind.RAW: "logprob", LogprobKind.SAMPLING: "sampling_logprob"}
_Table = Mapping[str, Any]


class Unreadable(ValueError):
    """An answer that cannot be measured; the message is one safe line."""


class OtherContent(Unreadable):
    """A readable answer about other content than was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """Tokens in the order of the text, and a log-probability for each."""

    pieces: tuple[Piece, ...]
    logprobs: tuple[float | None, ...]


@contextmanager
def readable() -> Generator[None]:
    """Raise `Unreadable` for JSON of another shape."""
    try:
        yield
    except InvalidJson as error:
        raise Unreadable(str(error)) from error


@readable()
def choice_of(document: Any) -> _Table:
    """Return the only choice of an answer; raises `Unreadable`."""
    choices = array(table(document, "the answer").get("choices"), "choices")
    if len(choices) != 1:
        raise Unreadable(f"the answer has {len(choices)} choices, expected 1")
    return table(choices[0], "choices[0]")


@readable()
def echo_of(choice: _Table, kind: LogprobKind) -> Echo:
    """Return every token of a choice with its log-probability of one kind.

    Raises:
        Unreadable: an array is missing, or of another type or length than the others.
    """
    logprobs = table(choice.get("logprobs"), "logprobs")
    if logprobs.get("content") is not None:
        rows = list_of(table, logprobs["content"], "logprobs.content")
        return Echo(
            pieces=tuple(
                _piece(row.get("token_id", row.get("id")), row.get("token"), row) for row in rows
            ),
            # Only the field of this kind is read: one kind never replaces the other.
            logprobs=tuple(_logprob(row.get(_FIELDS[kind])) for row in rows),
        )
    values = array(logprobs.get("token_logprobs"), "logprobs.token_logprobs")
    texts = _optional_array(logprobs, "tokens", len(values))
    ids = _optional_array(logprobs, "token_ids", len(values))
    is_raw = kind is LogprobKind.RAW
    return Echo(
        pieces=tuple(_piece(id, text, {}) for id, text in zip(ids, texts, strict=True)),
        logprobs=tuple(_logprob(value) if is_raw else None for value in values),
    )


@readable()
def with_ids_beside(echo: Echo, choice: _Table, *, skipped: int) -> Echo:
    """Return an echo with ids from the lists beside it, if it has none itself.

    Args:
        echo: the echo.
        choice: its choice, where `prompt_token_ids` and `token_ids` are for all tokens.
        skipped: how many tokens at the start of the prompt are not in the echo.
    """
    if any(piece.id is not None for piece in echo.pieces):
        return echo
    beside = array(choice.get("token_ids") or [], "token_ids")
    if len(beside) != len(echo.pieces):
        prompt = array(choice.get("prompt_token_ids") or [], "prompt_token_ids")
        beside = [*prompt, *beside][skipped:] if prompt else []
    if len(beside) < len(echo.pieces):
        return echo
    pieces = (Piece(_id(id), piece.data) for id, piece in zip(beside, echo.pieces, strict=False))
    return Echo(pieces=tuple(pieces), logprobs=echo.logprobs)


def prompt_tokens_of(document: Any) -> int | None:
    """Return the number of prompt tokens in `usage`, if any."""
    return _usage(document, "prompt_tokens")


def completion_tokens_of(document: Any) -> int | None:
    """Return the number of generated tokens in `usage`, if any."""
    return _usage(document, "completion_tokens")


def cached_tokens_of(document: Any) -> int | None:
    """Return how many prompt tokens came from a cache by `usage`, if it shows them."""
    return _usage(document, "prompt_tokens_details", "cached_tokens")


def _usage(document: Any, *names: str) -> int | None:
    try:
        return integer(value_at(document, "usage", *names), low=0, high=_MAX_ID)
    except InvalidJson:
        return None


def piece_of(row: _Table) -> tuple[Piece, float | None]:
    """Return the token of a row, and its log-probability before any sampler."""
    piece = _piece(row.get("token_id", row.get("id")), row.get("token"), row)
    return piece, _logprob(row.get("logprob"))


def _piece(id: Any, text: Any, row: _Table) -> Piece:
    data = row.get("bytes")
    named = _NAMED_BY_ID.fullmatch(text) if isinstance(text, str) else None
    if named:
        # The text is not known then, and bytes would only spell the name.
        return Piece(_id(int(named[1]) if id is None else id), b"")
    if id is None and data is None and text is None:
        raise Unreadable("a token has neither an id nor a text")
    return Piece(_id(id), _bytes(data) if data is not None else _utf8(text))


def _id(value: Any) -> int | None:
    return None if value is None else integer(value, "token id", low=0, high=_MAX_ID)


def _bytes(value: Any) -> bytes:
    numbers = array(value, "token bytes")
    if len(numbers) > MAX_TOKEN_BYTES:
        raise Unreadable(f"a token has {len(numbers)} bytes")
    return bytes(list_of(_byte, numbers, "token bytes"))


def _byte(value: Any) -> int:
    return integer(value, low=0, high=255)


def _utf8(value: Any) -> bytes:
    if value is None:
        return b""
    text = string(value, "token text")
    if len(text) > MAX_TOKEN_BYTES:
        raise Unreadable(f"a token has {len(text)} characters")
    return text.encode("utf-8", errors="surrogatepass")


def _logprob(value: Any) -> float | None:
    if value is None:
        return None
    if not is_number(value):
        raise InvalidJson("log-probability", expected="a number", found=kind_of(value))
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _optional_array(logprobs: _Table, name: str, length: int) -> Sequence[Any]:
    if logprobs.get(name) is None:
        return [None] * length
    found = array(logprobs[name], f"logprobs.{name}")
    if len(found) != length:
        raise Unreadable(f"{length} log-probabilities for {len(found)} {name}")
    return found
