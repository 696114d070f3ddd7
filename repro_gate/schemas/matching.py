"""Match documents with the published schemas, without saying why one does not match.

A validator that can explain what is wrong takes a hundred times as long, and most files are valid.
Each schema is compiled to a function once. What it accepts is what the validator accepts, except
that it accepts nothing where a schema has a keyword that this module does not know.
"""

import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sized
from functools import cache, partial
from importlib.resources import files
from typing import Any, Final, TypeAlias, TypeGuard

_Check: TypeAlias = Callable[[Any], object]
"""Returns something true if a value conforms; may raise TypeError if it does not."""
_Schema: TypeAlias = Mapping[str, Any] | bool

_ANNOTATIONS: Final = frozenset(
    {"$schema", "$id", "$defs", "title", "description", "default", "writeOnly", "then", "else"}
)
"""Keywords without a check of their own; `then` and `else` belong to `if`."""
_BY_PATTERN: Final = ("type", "string", True)
"""A type that is checked by searching for the pattern beside it."""


def matches(document: object, schema: str) -> bool:
    """Return whether a document is certain to conform to a schema, given by name and version."""
    check = _check_of(schema)
    try:
        return check is not None and bool(check(document))
    except TypeError:
        # Of a value that is no string, from a search for its pattern.
        return False


@cache
def schema_of(name: str) -> Any:
    """Return a published schema."""
    return json.loads(
        files("repro_gate.schemas").joinpath(f"{name}.json").read_text(encoding="utf-8")
    )


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Return whether a value is a JSON array."""
    return isinstance(value, list)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a value is a JSON object."""
    return isinstance(value, dict)


def is_integer(value: object) -> bool:
    """Return whether a value is an integer; JSON Schema takes 10.0 for one."""
    return type(value) is int


def is_finite_number(value: object) -> bool:
    """Return whether a value is a finite number; TOML has nan, and Python reads 1e999 as inf."""
    return (type(value) is int or type(value) is float) and -math.inf < value < math.inf


@cache
def _check_of(name: str) -> _Check | None:
    try:
        return _Compiler(schema_of(name)).check_of(schema_of(name))
    except KeyError:
        return None


class _Compiler:
    """Makes checks of the parts of one schema; a part raises KeyError for an unknown keyword."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._by_reference: dict[str, _Check] = {}

    def check_of(self, schema: _Schema) -> _Check:
        """Return the check of a schema or a part of one."""
        if isinstance(schema, bool):
            return lambda _: schema
        checks = [
            _KEYWORDS[word](self, schema, rule)
            for word, rule in schema.items()
            if word not in _ANNOTATIONS and (word, rule, "pattern" in schema) != _BY_PATTERN
        ]
        return _conjunction(checks)

    def reference(self, _: _Schema, path: str) -> _Check:
        """Return the check of another part of the schema, such as `#/$defs/name`."""
        if path not in self._by_reference:
            part = self._root
            for step in path.removeprefix("#/").split("/"):
                part = part[step]
            self._by_reference[path] = self.check_of(part)
        return self._by_reference[path]

    def properties(self, _: _Schema, rule: Mapping[str, _Schema]) -> _Check:
        """Return a check of the values under known keys."""
        checks = [(name, self.check_of(part)) for name, part in rule.items()]
        return lambda value: (
            not is_object(value)
            or all(check(value[name]) for name, check in checks if name in value)
        )

    def additional(self, schema: Mapping[str, Any], rule: _Schema) -> _Check:
        """Return a check of the values under other keys."""
        known, check = frozenset(schema.get("properties", ())), self.check_of(rule)
        if not known:
            return lambda value: not is_object(value) or all(map(check, value.values()))
        return lambda value: (
            not is_object(value) or all(check(value[name]) for name in value if name not in known)
        )

    def names(self, _: _Schema, rule: _Schema) -> _Check:
        """Return a check of the keys."""
        check = self.check_of(rule)
        return lambda value: not is_object(value) or all(map(check, value))

    def items(self, _: _Schema, rule: _Schema) -> _Check:
        """Return a check of the items of a list."""
        check = self.check_of(rule)
        return lambda value: not is_array(value) or all(map(check, value))

    def every(self, _: _Schema, rule: list[_Schema]) -> _Check:
        """Return the check of several schemas."""
        return _conjunction([self.check_of(part) for part in rule])

    def negation(self, _: _Schema, rule: _Schema) -> _Check:
        """Return a check that fails where the schema matches."""
        check = self.check_of(rule)
        return lambda value: not check(value)

    def condition(self, schema: Mapping[str, Any], rule: _Schema) -> _Check:
        """Return the check of `if`, with `then` and `else`."""
        test = self.check_of(rule)
        then, otherwise = (self.check_of(schema.get(word, True)) for word in ("then", "else"))
        return lambda value: then(value) if test(value) else otherwise(value)


def _conjunction(checks: list[_Check]) -> _Check:
    match checks:
        case [only]:
            return only
        case [first, second]:
            return lambda value: first(value) and second(value)
        case _:
            return lambda value: all(check(value) for check in checks)


_TYPES: Final[Mapping[str, _Check]] = {
    "array": is_array,
    "boolean": lambda value: isinstance(value, bool),
    "integer": is_integer,
    "null": lambda value: value is None,
    "number": is_finite_number,
    "object": is_object,
    "string": lambda value: isinstance(value, str),
}


def _type(rule: str | list[str]) -> _Check:
    if isinstance(rule, str):
        return _TYPES[rule]
    kinds = [_TYPES[each] for each in rule]
    return lambda value: any(kind(value) for kind in kinds)


def _one_of(values: list[object]) -> _Check:
    if not all(isinstance(value, str) for value in values):
        raise KeyError("enum")
    return lambda value: isinstance(value, str) and value in values


def _pattern(schema: Mapping[str, Any], rule: str) -> _Check:
    search = re.compile(rule).search
    if schema.get("type") == "string":
        # Most values are such strings, and a function of ours would take longer than the search.
        return search
    return lambda value: not isinstance(value, str) or search(value) is not None


def _required(rule: list[str]) -> _Check:
    return lambda value: not is_object(value) or all(name in value for name in rule)


def _unique(rule: bool) -> _Check:  # noqa: FBT001 -- the value of a keyword
    return lambda value: (
        not (rule and is_array(value))
        or len({json.dumps(each, sort_keys=True, default=str) for each in value}) == len(value)
    )


def _sized(kind: type[Sized], compare: Callable[[int, int], bool], rule: int) -> _Check:
    return lambda value: not isinstance(value, kind) or compare(len(value), rule)


def _bounded(compare: Callable[[float, float], bool], rule: float) -> _Check:
    return lambda value: not is_finite_number(value) or compare(value, rule)


def _plain(make: Callable[[Any], _Check]) -> Callable[[_Compiler, Any, Any], _Check]:
    """Return the maker of a check that needs nothing but the value of its keyword."""
    return lambda _, __, rule: make(rule)


_KEYWORDS: Final[Mapping[str, Callable[[_Compiler, Any, Any], _Check]]] = {
    "$ref": _Compiler.reference,
    "additionalProperties": _Compiler.additional,
    "allOf": _Compiler.every,
    "if": _Compiler.condition,
    "items": _Compiler.items,
    "not": _Compiler.negation,
    "properties": _Compiler.properties,
    "propertyNames": _Compiler.names,
    "const": _plain(lambda rule: _one_of([rule])),
    "enum": _plain(_one_of),
    "exclusiveMinimum": _plain(partial(_bounded, operator.gt)),
    "maxLength": _plain(partial(_sized, str, operator.le)),
    "maximum": _plain(partial(_bounded, operator.le)),
    "maxItems": _plain(partial(_sized, list, operator.le)),
    "minItems": _plain(partial(_sized, list, operator.ge)),
    "minLength": _plain(partial(_sized, str, operator.ge)),
    "minProperties": _plain(partial(_sized, dict, operator.ge)),
    "minimum": _plain(partial(_bounded, operator.ge)),
    "pattern": lambda _, schema, rule: _pattern(schema, rule),
    "required": _plain(_required),
    "type": _plain(_type),
    "uniqueItems": _plain(_unique),
}
