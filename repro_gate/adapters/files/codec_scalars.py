"""Single values as JSON, and back: each of exactly its own type, or an error."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from repro_gate.core.text import printable, spell, unprinted, unspell

NOT_FINITE: Final = ("inf", "-inf", "nan")
"""The numbers that JSON does not have, as words."""
MAX_INT: Final = 2**63 - 1
"""Of a count; only the engine knows how large a setting may be."""
_MAX_SHOWN: Final = 200


class DecodeError(ValueError):
    """Data that is no value of its type: where, what was expected and what was found."""

    def __init__(self, *, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected = expected
        self.found = found
        self._steps: list[str | int] = []

    @classmethod
    def of(cls, data: object, *, expected: str) -> "DecodeError":
        """Return the error for data of another type or value."""
        return cls(expected=expected, found=_shown(data))

    @classmethod
    def by(cls, error: Exception, *, expected: str) -> "DecodeError":
        """Return the error for data that a constructor or a parser refused."""
        return cls(expected=expected, found=_clipped(printable(str(error))))

    def at(self, step: str | int) -> "DecodeError":
        """Add the next outer key or index that leads to it."""
        self._steps.append(step)
        return self

    @property
    def place(self) -> str:
        """Where it is, as one safe line."""
        steps = [f"[{s}]" if isinstance(s, int) else f".{s}" for s in reversed(self._steps)]
        return _clipped(printable("".join(steps).removeprefix(".")))


@dataclass(frozen=True, slots=True)
class Codec:
    """How values of one type are written as JSON data, and read."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    """Raises `DecodeError`."""


def enum_codec(kind: type[Enum]) -> Codec:
    """Return the codec of named values: each is written as what it stands for."""
    members = {member.value: member for member in kind}
    known = list(members)

    def read(data: Any) -> Enum:
        # True equals 1, and is no member.
        if type(data) not in map(type, known) or data not in members:
            raise DecodeError.of(data, expected=f"one of {known}")
        return members[data]

    return Codec(lambda member: member.value, read)


def literal_codec(values: tuple[Any, ...]) -> Codec:
    """Return the codec of a fixed list of values."""

    def read(data: Any) -> Any:
        if not any(type(data) is type(value) and data == value for value in values):
            raise DecodeError.of(data, expected=" or ".join(map(repr, values)))
        return data

    return Codec(_same, read)


def _same(value: Any) -> Any:
    return value


def _write_float(value: float) -> float | str:
    return float(value) if math.isfinite(value) else repr(float(value))


def _write_setting(value: bool | float | str) -> bool | float | str:  # noqa: FBT001 -- data
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a setting must be finite, got {value}")
    return printable(value) if isinstance(value, str) else value


def _read_bool(data: Any) -> bool:
    if not isinstance(data, bool):
        raise DecodeError.of(data, expected="true or false")
    return data


def _read_int(data: Any) -> int:
    """Return an integer: true is none, and 1.0 is none."""
    if type(data) is not int:
        raise DecodeError.of(data, expected="an integer")
    if not -MAX_INT <= data <= MAX_INT:
        raise DecodeError(expected=f"an integer of at most {MAX_INT}", found="a larger one")
    return data


def _read_float(data: Any) -> float:
    """Return a number; other tools write 1.0 as 1."""
    # Python reads 1e999 as infinity.
    if type(data) is float and math.isfinite(data):
        return data
    is_whole = type(data) is int and abs(data) <= sys.float_info.max
    if is_whole or (isinstance(data, str) and data in NOT_FINITE):
        return float(data)
    raise DecodeError.of(data, expected="a number")


def _read_text(data: Any) -> str:
    if not isinstance(data, str):
        raise DecodeError.of(data, expected="a text")
    if data.isascii() and "\\" not in data:
        return data
    try:
        return unprinted(data)
    except ValueError as error:
        raise DecodeError.by(error, expected="a printable text") from error


def _read_bytes(data: Any) -> bytes:
    if not isinstance(data, str):
        raise DecodeError.of(data, expected="a text")
    try:
        return unspell(data)
    except ValueError as error:
        raise DecodeError.by(error, expected="printable bytes") from error


def _read_setting(data: Any) -> Any:
    is_finite = not isinstance(data, float) or math.isfinite(data)
    if type(data) not in {bool, int, float, str} or not is_finite:
        raise DecodeError.of(data, expected="a setting")
    return _read_text(data) if isinstance(data, str) else data


TEXT: Final = Codec(printable, _read_text)
SETTING: Final = Codec(_write_setting, _read_setting)
"""Of a value whose own type says what it is: true, 1, 1.0 and "1" are four settings."""
SCALARS: Final[dict[type, Codec]] = {
    bool: Codec(_same, _read_bool),
    int: Codec(_same, _read_int),
    float: Codec(_write_float, _read_float),
    str: TEXT,
    bytes: Codec(spell, _read_bytes),
}


def _shown(data: object) -> str:
    # `repr` of a list in a list in a list would exhaust the stack.
    if isinstance(data, list):
        return "a list"
    return "an object" if isinstance(data, dict) else _clipped(printable(repr(data)))


def _clipped(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
