"""Single values as JSON, and back: each of exactly its own type, or an error."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from repro_gate.core.text import escape_bytes, escape_text, unescape_bytes, unescape_text
from repro_gate.strict_json import InvalidJson, boolean, integer, kind_of, number, string

NOT_FINITE: Final = ("inf", "-inf", "nan")
"""The numbers that JSON does not have, as words."""
_MAX_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Codec:
    """How values of one type are written as JSON data, and read."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    """Raises `InvalidJson`."""


def enum_codec(kind: type[Enum]) -> Codec:
    """Return the codec of named values: each is written as what it stands for."""
    members = {member.value: member for member in kind}
    known = list(members)

    def read(data: Any) -> Enum:
        # True equals 1, and is no member.
        if type(data) not in map(type, known) or data not in members:
            raise InvalidJson("", expected=f"one of {known}", found=shown(data))
        return members[data]

    return Codec(lambda member: member.value, read)


def literal_codec(values: tuple[Any, ...]) -> Codec:
    """Return the codec of a fixed list of values."""

    def read(data: Any) -> Any:
        if not any(type(data) is type(value) and data == value for value in values):
            raise InvalidJson("", expected=" or ".join(map(repr, values)), found=shown(data))
        return data

    return Codec(_same, read)


def _same(value: Any) -> Any:
    return value


def _write_float(value: float) -> float | str:
    return float(value) if math.isfinite(value) else repr(float(value))


def _write_setting(value: bool | float | str) -> bool | float | str:  # noqa: FBT001 -- data
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a setting must be finite, got {value}")
    return escape_text(value) if isinstance(value, str) else value


def _read_float(data: Any) -> float:
    return float(data) if isinstance(data, str) and data in NOT_FINITE else number(data)


def _read_text(data: Any) -> str:
    found = string(data)
    if found.isascii() and "\\" not in found:
        return found
    try:
        return unescape_text(found)
    except ValueError as error:
        raise refused(error, expected="an escaped string") from error


def _read_bytes(data: Any) -> bytes:
    try:
        return unescape_bytes(string(data))
    except InvalidJson:
        raise
    except ValueError as error:
        raise refused(error, expected="escaped bytes") from error


def _read_setting(data: Any) -> Any:
    if isinstance(data, str):
        return _read_text(data)
    is_finite = not isinstance(data, float) or math.isfinite(data)
    if type(data) not in {bool, int, float} or not is_finite:
        raise InvalidJson("", expected="a setting", found=kind_of(data))
    return data


TEXT: Final = Codec(escape_text, _read_text)
SETTING: Final = Codec(_write_setting, _read_setting)
"""Of a value whose own type says what it is: true, 1, 1.0 and "1" are four settings."""
SCALARS: Final[dict[type, Codec]] = {
    bool: Codec(_same, boolean),
    int: Codec(_same, integer),
    float: Codec(_write_float, _read_float),
    str: TEXT,
    bytes: Codec(escape_bytes, _read_bytes),
}


def refused(error: ValueError, *, expected: str) -> InvalidJson:
    """Return the error for data that a constructor or a parser refused."""
    return InvalidJson("", expected=expected, found=clipped(str(error)))


def shown(data: object) -> str:
    """Return a value as a safe line of limited length."""
    return clipped(repr(data)) if isinstance(data, str) else kind_of(data)


def clipped(text: str) -> str:
    """Return a text as a safe line of limited length."""
    shown = escape_text(text)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."
