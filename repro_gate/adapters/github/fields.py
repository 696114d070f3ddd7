"""JSON that somebody else wrote, read field by field."""

from typing import Any

from repro_gate.adapters.files.parsing import ANSWER_LIMITS, json_line_of


class FieldMissing(ValueError):
    """A field is not there, or is not what it should be; the message names it."""


def parsed(data: bytes) -> Any:
    """Return a JSON document; raises ValueError, as for NaN, endless nesting and a key twice."""
    return json_line_of(data, ANSWER_LIMITS)


def field_at(document: Any, *names: str) -> Any:
    """Return what lies under these names, or None where there is nothing."""
    for name in names:
        if not isinstance(document, dict):
            return None
        document = document.get(name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] -- JSON
    return document  # pyright: ignore[reportUnknownVariableType] -- JSON


def items_in(value: Any) -> list[Any]:
    """Return the items of a list; what is no list has none."""
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] -- JSON


def text_at(document: Any, *names: str) -> str:
    """Return the text under these names, which can be written as UTF-8 and is not empty.

    Raises:
        FieldMissing: there is none.
    """
    value = field_at(document, *names)
    if not isinstance(value, str) or not value or not _is_writable(value):
        raise FieldMissing(f"{'.'.join(names)} is no text")
    return value


def number_at(document: Any, *names: str) -> int:
    """Return the whole number, counted from 1, under these names.

    Raises:
        FieldMissing: there is none.
    """
    value = field_at(document, *names)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise FieldMissing(f"{'.'.join(names)} is no number")
    return value


def _is_writable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
