"""Reads the fields of a JSON object strictly: whatever does not fit is a bad request."""

from collections.abc import Collection
from reprlib import repr as short
from typing import TypeGuard

from repro_gate.protocol import Json, Refusal, RequestRefused


def bad_request(message: str) -> RequestRefused:
    """Return the error for a request that breaks the protocol."""
    return RequestRefused(Refusal.BAD_REQUEST, message)


def is_object(value: object) -> TypeGuard[Json]:
    """Say whether a value that was read as JSON is an object."""
    return isinstance(value, dict)


class Fields:
    """The fields of one object of a request."""

    def __init__(self, data: object, *, of: str, known: Collection[str]) -> None:
        if not is_object(data):
            raise bad_request(f"{of} must be an object, got {short(data)}")
        unknown = sorted(data.keys() - set(known))
        if unknown:
            raise bad_request(f"{of}: unknown {unknown[0]!r}; known: {', '.join(known)}")
        self._data = data
        self._of = of

    def value(self, name: str) -> object:
        """Return a field that must be there, whatever it is."""
        if name not in self._data:
            raise bad_request(f"{self._of}: {name!r} is missing")
        return self._data[name]

    def has(self, name: str) -> bool:
        """Say whether a field that may be left out is there."""
        return name in self._data

    def text(self, name: str) -> str:
        """Return a string that has an UTF-8 form."""
        value = self.value(name)
        if not isinstance(value, str):
            raise self._unfit(name, "a string", value)
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self._unfit(name, "text without lone surrogates", value) from error
        return value

    def integer(self, name: str, *, low: int, high: int) -> int:
        """Return an integer within both bounds."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._unfit(name, f"an integer from {low} to {high}", value)
        return value

    def number(self, name: str, *, low: float, high: float) -> float:
        """Return a number within both bounds."""
        value = self.value(name)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise self._unfit(name, f"a number from {low} to {high}", value)
        return float(value)

    def flag(self, name: str, *, default: bool | None = None) -> bool:
        """Return a boolean; without a default it must be there."""
        if default is not None and name not in self._data:
            return default
        value = self.value(name)
        if not isinstance(value, bool):
            raise self._unfit(name, "true or false", value)
        return value

    def text_or_integers(self, name: str) -> str | list[int]:
        """Return a string that has an UTF-8 form, or a list of at least one integer."""
        value = self.value(name)
        if isinstance(value, str):
            return self.text(name)
        if not _are_integers(value) or not value:
            raise self._unfit(name, "a string or a list of at least one integer", value)
        return value

    def choice(self, name: str, choices: Collection[str]) -> str:
        """Return one of the strings that it may be."""
        value = self.value(name)
        if not isinstance(value, str) or value not in choices:
            raise self._unfit(name, f"one of {', '.join(choices)}", value)
        return value

    def _unfit(self, name: str, expected: str, value: object) -> RequestRefused:
        return bad_request(f"{self._of}: {name!r} must be {expected}, got {short(value)}")


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _are_integers(value: object) -> TypeGuard[list[int]]:
    # A boolean is an int to Python, but not to JSON.
    return _is_list(value) and all(type(item) is int for item in value)
