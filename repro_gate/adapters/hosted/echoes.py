"""What an answer says token by token, in whichever of the two shapes it comes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repro_gate.core.draws import Piece
from repro_gate.core.policies import LogprobKind
from repro_gate.core.tokens import MAX_TOKEN_BYTES

_MOST_IDS = 1 << 31
_NAMED_BY_ID = re.compile(r"token_id:(\d{1,10})")
"""How vLLM names tokens that it is told to return as ids."""
_FIELDS = {LogprobKind.RAW: "logprob", LogprobKind.SAMPLING: "sampling_logprob"}
_Table = Mapping[str, Any]


class Unreadable(ValueError):
    """An answer in a form that cannot be measured; the message is one safe line."""


class OtherContent(Unreadable):
    """An answer that can be read, and is about something else than was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """Tokens in the order of the text, and a log-probability for each."""

    pieces: tuple[Piece, ...]
    logprobs: tuple[float | None, ...]


def table(value: Any, what: str) -> _Table:
    """Return a JSON object, or raise `Unreadable`."""
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is {_kind(value)} where an object was expected")
    return value  # pyright: ignore[reportUnknownVariableType] -- JSON, whose keys are texts


def field_of(value: Any, name: str) -> Any:
    """Return a field of a JSON object, or None where there is no such field or no object."""
    return value.get(name) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] -- JSON


def choice_of(document: Any) -> _Table:
    """Return the one choice of an answer, or raise `Unreadable`."""
    choices = _array(table(document, "the answer").get("choices"), "choices")
    if len(choices) != 1:
        raise Unreadable(f"the answer has {len(choices)} choices where 1 was asked for")
    return table(choices[0], "the choice")


def echo_of(choice: _Table, kind: LogprobKind) -> Echo:
    """Return every token of a choice with its log-probability of one kind.

    Raises:
        Unreadable: an array is missing, or of another type or length than the others.
    """
    logprobs = table(choice.get("logprobs"), "logprobs")
    if logprobs.get("content") is not None:
        rows = [table(row, "a token") for row in _array(logprobs["content"], "logprobs.content")]
        return Echo(
            pieces=tuple(
                _piece(row.get("token_id", row.get("id")), row.get("token"), row) for row in rows
            ),
            # The field is read by its name alone: one kind never stands for the other.
            logprobs=tuple(_logprob(row.get(_FIELDS[kind])) for row in rows),
        )
    values = _array(logprobs.get("token_logprobs"), "logprobs.token_logprobs")
    texts = _optional_array(logprobs, "tokens", len(values))
    ids = _optional_array(logprobs, "token_ids", len(values))
    is_raw = kind is LogprobKind.RAW
    return Echo(
        pieces=tuple(_piece(id, text, {}) for id, text in zip(ids, texts, strict=True)),
        logprobs=tuple(_logprob(value) if is_raw else None for value in values),
    )


def with_ids_beside(echo: Echo, choice: _Table, *, skipped: int) -> Echo:
    """Return an echo with the ids that stand beside its log-probabilities, if it has none itself.

    Args:
        echo: what was read so far.
        choice: where it was read; its `prompt_token_ids` and `token_ids` are of all the tokens.
        skipped: how many tokens of the prompt's beginning are not in the echo.
    """
    if any(piece.id is not None for piece in echo.pieces):
        return echo
    beside = _array(choice.get("token_ids") or [], "token_ids")
    if len(beside) != len(echo.pieces):
        prompt = _array(choice.get("prompt_token_ids") or [], "prompt_token_ids")
        beside = [*prompt, *beside][skipped:] if prompt else []
    if len(beside) < len(echo.pieces):
        return echo
    pieces = (Piece(_id(id), piece.data) for id, piece in zip(beside, echo.pieces, strict=False))
    return Echo(pieces=tuple(pieces), logprobs=echo.logprobs)


def prompt_tokens_of(document: Any) -> int | None:
    """Return how many tokens of a prompt were read, if an answer says so."""
    return _usage(document, "prompt_tokens")


def completion_tokens_of(document: Any) -> int | None:
    """Return how many tokens were generated, if an answer says so."""
    return _usage(document, "completion_tokens")


def _usage(document: Any, name: str) -> int | None:
    count = field_of(field_of(document, "usage"), name)
    return count if _is_whole(count) and 0 <= count < _MOST_IDS else None


def _piece(id: Any, text: Any, row: _Table) -> Piece:
    data = row.get("bytes")
    named = _NAMED_BY_ID.fullmatch(text) if isinstance(text, str) else None
    if named:
        # The id in place of the text, which is not known then; bytes would only spell the name.
        return Piece(_id(int(named[1]) if id is None else id), b"")
    if id is None and data is None and text is None:
        raise Unreadable("a token has neither an id nor a text")
    return Piece(_id(id), _bytes(data) if data is not None else _utf8(text))


def _id(value: Any) -> int | None:
    if value is None:
        return None
    if not (_is_whole(value) and 0 <= value < _MOST_IDS):
        raise Unreadable(f"the id of a token is {_kind(value)} and no token's id")
    return int(value)


def _bytes(value: Any) -> bytes:
    numbers = _array(value, "the bytes of a token")
    if len(numbers) > MAX_TOKEN_BYTES:
        raise Unreadable(f"a token has {len(numbers)} bytes")
    if not all(_is_whole(number) and 0 <= number < 256 for number in numbers):  # noqa: PLR2004 -- a byte
        raise Unreadable("the bytes of a token are no bytes")
    return bytes(numbers)


def _utf8(value: Any) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str):
        raise Unreadable(f"the text of a token is {_kind(value)}")
    if len(value) > MAX_TOKEN_BYTES:
        raise Unreadable(f"a token has {len(value)} characters")
    return value.encode("utf-8", errors="surrogatepass")


def _logprob(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"a log-probability is {_kind(value)} where a number was expected")
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _array(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise Unreadable(f"{what}: {_kind(value)} where an array was expected")
    return value  # pyright: ignore[reportUnknownVariableType] -- JSON


def _optional_array(logprobs: _Table, name: str, length: int) -> Sequence[Any]:
    if logprobs.get(name) is None:
        return [None] * length
    found = _array(logprobs[name], f"logprobs.{name}")
    if len(found) != length:
        raise Unreadable(f"{length} log-probabilities for {len(found)} {name}")
    return found


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    names = {bool: "true or false", str: "a text", list: "an array", dict: "an object"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a number")
