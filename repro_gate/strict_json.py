"""Strict readers of JSON values: each returns its value, or raises `InvalidJson`.

`true` and `1.0` are not integers, NaN and infinity are not numbers, and an integer has at most 64
bits. `place` is where the value stands, for the message.
"""

import sys
from collections.abc import Callable, Collection
from typing import Any, Final, TypeGuard, TypeVar

T = TypeVar("T")

MAX_INTEGER: Final = 2**63 - 1
MAX_NUMBER: Final = sys.float_info.max
_MAX_SHOWN: Final = 40


class InvalidJson(ValueError):
    """A JSON value that is not the expected one."""

    def __init__(self, place: str, *, expected: str, found: str) -> None:
        super().__init__(place, expected, found)
        self.place = place
        """Keys and indices, such as `settings.n_ctx` or `.tokens[3]`."""
        self.expected = expected
        self.found = found
        """Never the text of a string, which may be secret or unsafe to print."""

    def inside(self, step: str | int) -> "InvalidJson":
        """Prepend an index or a key, which is escaped, to the place."""
        shown = f"[{step}]" if isinstance(step, int) else f".{_shown_key(step)}"
        self.place = shown + self.place
        return self

    def __str__(self) -> str:
        place = self.place.removeprefix(".")
        message = f"expected {self.expected}, found {self.found}"
        return f"{place}: {message}" if place else message


def integer(
    value: object, place: str = "", *, low: int = -MAX_INTEGER, high: int = MAX_INTEGER
) -> int:
    """Return an integer within both bounds."""
    if type(value) is int and low <= value <= high:
        return value
    is_unbounded = high == -low == MAX_INTEGER
    kind = "a 64-bit integer" if type(value) is int and is_unbounded else "an integer"
    raise _unexpected(place, f"{kind}{_range(low, high, MAX_INTEGER)}", value)


def number(
    value: object, place: str = "", *, low: float = -MAX_NUMBER, high: float = MAX_NUMBER
) -> float:
    """Return a finite number within both bounds."""
    # Not by `is_number`: a log-probability is read in 0.1 us.
    if (type(value) is float or type(value) is int) and low <= value <= high:
        return float(value)
    raise _unexpected(place, f"a finite number{_range(low, high, MAX_NUMBER)}", value)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number, be it NaN or infinite."""
    return type(value) is float or type(value) is int


def boolean(value: object, place: str = "") -> bool:
    """Return true or false."""
    if isinstance(value, bool):
        return value
    raise _unexpected(place, "true or false", value)


def string(value: object, place: str = "") -> str:
    """Return a string, which may be empty or hold lone surrogates."""
    if isinstance(value, str):
        return value
    raise _unexpected(place, "a string", value)


def text(value: object, place: str = "") -> str:
    """Return a string that can be encoded as UTF-8."""
    found = string(value, place)
    try:
        found.encode()
    except UnicodeEncodeError as error:
        raise InvalidJson(place, expected="a string", found="a lone surrogate in it") from error
    return found


def choice(value: object, place: str, choices: Collection[str]) -> str:
    """Return one of the strings that it may be."""
    if isinstance(value, str) and value in choices:
        return value
    found = "another string" if isinstance(value, str) else kind_of(value)
    raise InvalidJson(place, expected=f"one of {', '.join(choices)}", found=found)


def array(value: object, place: str = "") -> list[Any]:
    """Return a list."""
    if is_list(value):
        return value
    raise _unexpected(place, "a list", value)


def list_of(read: Callable[[Any], T], value: object, place: str = "") -> list[T]:
    """Return the items of a list, each read by a function of this module or one like it."""
    found = array(value, place)
    items: list[T] = []
    try:
        # Adds the items before an invalid one, and is faster than a loop.
        items.extend(map(read, found))
    except InvalidJson as error:
        error.place = f"{place}[{len(items)}]{error.place}"
        raise
    return items


def table(value: object, place: str = "") -> dict[str, Any]:
    """Return an object, whatever its keys."""
    if is_table(value):
        return value
    raise _unexpected(place, "an object", value)


def exact_table(
    value: object, place: str, *, keys: Collection[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    """Return an object that has all these keys, and no others but the optional ones."""
    found = table(value, place)
    missing = [name for name in keys if name not in found]
    if missing:
        raise InvalidJson(place, expected=f"the key {missing[0]!r}", found="none")
    unknown = found.keys() - {*keys, *optional} if len(found) > len(keys) else ()
    if unknown:
        expected = f"only the keys {', '.join([*keys, *optional])}"
        key = _shown_key(min(unknown))
        raise InvalidJson(place, expected=expected, found=f"the unknown key '{key}'")
    return found


def value_at(document: object, *keys: str) -> Any:
    """Return the value under nested keys, or None where there is none."""
    for key in keys:
        if not is_table(document):
            return None
        document = document.get(key)
    return document


def items_at(document: object, *keys: str) -> list[Any]:
    """Return the items of the list under nested keys; none where there is no list."""
    found = value_at(document, *keys)
    return found if is_list(found) else []


def kind_of(value: object) -> str:
    """Return what a value is, in words; of a number, the number itself."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if is_number(value):
        shown = repr(value)
        return shown if len(shown) <= _MAX_SHOWN else "a very large number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "an object"


def _unexpected(place: str, expected: str, value: object) -> InvalidJson:
    return InvalidJson(place, expected=expected, found=kind_of(value))


def _shown_key(key: str) -> str:
    return ascii(key[:_MAX_SHOWN])[1:-1]


def _range(low: float, high: float, limit: float) -> str:
    if high < limit:
        return f" from {low} to {high}" if low > -limit else f" of at most {high}"
    return f" of at least {low}" if low > -limit else ""


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Return whether a value is a list."""
    return isinstance(value, list)


def is_table(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a value is an object."""
    return isinstance(value, dict)
