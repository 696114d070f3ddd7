"""Fields of JSON from GitHub."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from repro_gate.adapters.files.parsing import ANSWER_LIMITS, json_line_of
from repro_gate.strict_json import InvalidJson, integer, text, value_at

T = TypeVar("T")


class FieldMissing(ValueError):
    """A field is missing or invalid; the message names it."""


def parsed(data: bytes) -> Any:
    """Return a JSON document; raises ValueError, as for NaN, endless nesting and a key twice."""
    return json_line_of(data, ANSWER_LIMITS)


def text_at(document: object, *keys: str) -> str:
    """Return the string under nested keys, which is not empty and can be encoded as UTF-8.

    Raises:
        FieldMissing: there is none.
    """
    found = _read(text, document, keys)
    if not found:
        raise FieldMissing(f"{'.'.join(keys)}: expected a string, found an empty one")
    return found


def number_at(document: object, *keys: str) -> int:
    """Return the positive integer under nested keys.

    Raises:
        FieldMissing: there is none.
    """
    return _read(partial(integer, low=1), document, keys)


def _read(read: Callable[[object, str], T], document: object, keys: Sequence[str]) -> T:
    try:
        return read(value_at(document, *keys), ".".join(keys))
    except InvalidJson as error:
        raise FieldMissing(str(error)) from error
