"""Single values as JSON, and back: each of exactly its own type, or refused."""

import math
import sys
from enum import Enum
from typing import Any, Final, get_args

from repro_gate.core.text import printable, unprinted, unspell

NOT_FINITE: Final = ("inf", "-inf", "nan")
"""The numbers that JSON does not have, as words."""
LARGEST_INT: Final = 2**63 - 1
"""Of a count; how large a setting may be, only the engine knows."""
_LONGEST_SHOWN = 200


class Refused(ValueError):
    """Data that is no value of its type: where, what was expected and what was found."""

    def __init__(self, *, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected = expected
        self.found = found
        self.steps: list[str | int] = []
        """The keys and indices that lead to it, the innermost first."""

    @classmethod
    def of(cls, data: object, *, expected: str) -> "Refused":
        """Return the error for data of another type or value."""
        return cls(expected=expected, found=_shown(data))

    @classmethod
    def by(cls, error: Exception, *, expected: str) -> "Refused":
        """Return the error for data that something else would not take."""
        return cls(expected=expected, found=_cut(printable(str(error))))

    @property
    def place(self) -> str:
        """Where it is, as one safe line."""
        steps = [f"[{s}]" if isinstance(s, int) else f".{s}" for s in reversed(self.steps)]
        return _cut(printable("".join(steps).removeprefix(".")))


def write_same(value: Any) -> Any:
    """Return a value that JSON has."""
    return value


def write_float(value: float) -> float | str:
    """Return a number, or the word for one that is not finite."""
    return float(value) if math.isfinite(value) else repr(float(value))


def write_enum(value: Enum) -> Any:
    """Return what a named value stands for."""
    return value.value


def write_setting(value: bool | float | str) -> bool | float | str:  # noqa: FBT001 -- data
    """Return a setting, whose own type says what it is."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a setting must be finite, got {value}")
    return printable(value) if isinstance(value, str) else value


def read_bool(data: Any, _: Any) -> bool:
    """Return a truth value."""
    if not isinstance(data, bool):
        raise Refused.of(data, expected="true or false")
    return data


def read_int(data: Any, _: Any) -> int:
    """Return an integer: true is none, and 1.0 is none."""
    if type(data) is not int:
        raise Refused.of(data, expected="an integer")
    if not -LARGEST_INT <= data <= LARGEST_INT:
        raise Refused(expected=f"an integer of at most {LARGEST_INT}", found="a larger one")
    return data


def read_float(data: Any, _: Any) -> float:
    """Return a number; other tools write 1.0 as 1."""
    # Python reads 1e999 as infinity.
    if type(data) is float and math.isfinite(data):
        return data
    if type(data) is int and abs(data) <= sys.float_info.max:
        return float(data)
    if data in NOT_FINITE:
        return float(data)
    raise Refused.of(data, expected="a number")


def read_text(data: Any, _: Any) -> str:
    """Return a text that was written by `printable`."""
    if not isinstance(data, str):
        raise Refused.of(data, expected="a text")
    if data.isascii() and "\\" not in data:
        return data
    try:
        return unprinted(data)
    except ValueError as error:
        raise Refused.by(error, expected="a printable text") from error


def read_bytes(data: Any, _: Any) -> bytes:
    """Return bytes that were written by `spell`."""
    if not isinstance(data, str):
        raise Refused.of(data, expected="a text")
    try:
        return unspell(data)
    except ValueError as error:
        raise Refused.by(error, expected="printable bytes") from error


def read_enum(data: Any, kind: type[Enum]) -> Enum:
    """Return the value that has a name."""
    for member in kind:
        if type(data) is type(member.value) and data == member.value:
            return member
    raise Refused.of(data, expected=f"one of {[member.value for member in kind]}")


def read_literal(data: Any, kind: Any) -> Any:
    """Return one of the values that a type lists."""
    for value in get_args(kind):
        if type(data) is type(value) and data == value:
            return data
    raise Refused.of(data, expected=" or ".join(map(repr, get_args(kind))))


def read_setting(data: Any, kind: Any) -> Any:
    """Return a setting as what its own type says it is."""
    is_finite = not isinstance(data, float) or math.isfinite(data)
    if type(data) not in get_args(kind) or not is_finite:
        raise Refused.of(data, expected="a setting")
    return read_text(data, kind) if isinstance(data, str) else data


def _shown(data: object) -> str:
    # A list in a list in a list would exhaust the stack of whoever spells it.
    if isinstance(data, list):
        return "a list"
    return "an object" if isinstance(data, dict) else _cut(printable(repr(data)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
