"""What is wrong with a document that does not conform to its schema.

The only module that uses jsonschema, which takes as long to import as hundreds of files to read:
so it is imported for a document that does not match.
"""

import difflib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match  # pyright: ignore[reportUnknownVariableType]
from jsonschema.validators import extend  # pyright: ignore[reportUnknownVariableType]

from repro_gate.adapters.files.parsing import clipped, shown
from repro_gate.core.text import escape_text
from repro_gate.schemas.matching import is_array, is_finite_number, is_integer, is_object, schema_of

_MAX_COMPARED: Final = 100
"""Characters of a name for which similar names are suggested; longer ones are not typos."""
_MAX_PLACE: Final = 300


def hint_of(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return the similar name that was probably meant, for the end of a message."""
    near = difflib.get_close_matches(name[:_MAX_COMPARED], known, n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near and len(name) <= _MAX_COMPARED else ""


def _first_bad(errors_of: Iterable[Iterator[ValidationError]]) -> Iterator[ValidationError]:
    """Yield the errors of the first value that has any."""
    for errors in errors_of:
        if (first := next(errors, None)) is not None:
            yield from chain([first], errors)
            return


def _items(validator: Any, schema: Any, values: Any, whole: Any) -> Iterator[ValidationError]:
    if is_array(values):
        first = len(whole.get("prefixItems", ()))
        yield from _first_bad(
            validator.descend(values[index], schema, path=index)
            for index in range(first, len(values))
        )


def _properties(validator: Any, rules: Any, table: Any, _: Any) -> Iterator[ValidationError]:
    if is_object(table):
        for name in rules:
            if name in table and rules[name] is False:
                # jsonschema would leave the key out of the place.
                yield ValidationError("no key", path=[name], instance=table[name])
            elif name in table:
                yield from validator.descend(table[name], rules[name], path=name, schema_path=name)


def _property_names(validator: Any, schema: Any, table: Any, _: Any) -> Iterator[ValidationError]:
    if is_object(table):
        yield from _first_bad(validator.descend(name, schema) for name in table)


def _additional_properties(
    validator: Any, schema: Any, table: Any, whole: Any
) -> Iterator[ValidationError]:
    if not is_object(table):
        return
    extras = [name for name in table if name not in whole.get("properties", {})]
    if schema is False and extras:
        yield ValidationError("an unknown key")
    elif schema is not False:
        yield from _first_bad(validator.descend(table[name], schema, path=name) for name in extras)


def _unique_items(_: Any, is_unique: Any, values: Any, __: Any) -> Iterator[ValidationError]:
    seen: set[str] = set()
    for index, value in enumerate(values if is_unique and is_array(values) else ()):
        spelled = json.dumps(value, sort_keys=True, default=str)
        if spelled in seen:
            yield ValidationError("twice", path=[index], instance=value)
            return
        seen.add(spelled)


def _is_integer(_: Any, value: object) -> bool:
    return is_integer(value)


def _is_finite_number(_: Any, value: object) -> bool:
    return is_finite_number(value)


# jsonschema's own keywords continue after the first invalid value, put all unknown keys into a
# message that is not used, and compare all pairs of a list.
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    validators={
        "additionalProperties": _additional_properties,
        "items": _items,
        "properties": _properties,
        "propertyNames": _property_names,
        "uniqueItems": _unique_items,
    },
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": _is_integer,
            "number": _is_finite_number,
        }
    ),
)


@cache
def validator_of(schema: str) -> Any:
    """Return the validator of a published schema, given by name and version."""
    return _Validator(schema_of(schema))


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """The most relevant place at which a document violates its schema."""

    place: str
    expected: str
    found: str


def violation_in(document: Any, schema: str) -> Violation | None:
    """Return what is wrong with a document; None when it conforms to its schema."""
    error: ValidationError | None = best_match(validator_of(schema).iter_errors(document))  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(error, ValidationError):
        return None
    expected, found = _explain(error)
    return Violation(place=_place(error), expected=expected, found=found)


def _place(error: ValidationError) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path]
    return escape_text(clipped("".join(steps).lstrip("."), _MAX_PLACE))


def _explain(error: ValidationError) -> tuple[str, str]:
    """Return what was expected and what was found."""
    # jsonschema types every part of an error as "anything or unset".
    rule: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    kind: Any = error.validator
    match kind:
        case "additionalProperties":
            return _explain_unknown_key(instance, schema)
        case "required":
            missing = [name for name in rule if name not in instance]
            return f"the key {missing[0]!r}", "none"
        case "minItems" | "minProperties" | "minLength" | "maxItems" | "maxLength":
            one, many = _UNITS[kind[3:]]
            bound = "at most" if kind.startswith("max") else "at least"
            return f"{bound} {rule} {one if rule == 1 else many}", f"{len(instance)}"
        case "properties" | None:
            return "no such key here", shown(instance)
        case _:
            return _explain_rule(str(kind), rule, schema), _found(instance, schema)


def _explain_rule(kind: str, rule: Any, schema: Any) -> str:
    # A description that is a sentence explains the purpose, not the allowed values.
    description = str(schema.get("description", ""))
    if description[:1].islower():
        return description
    if kind == "type":
        return " or ".join(map(_TYPES.__getitem__, [rule] if isinstance(rule, str) else rule))
    if kind == "enum":
        return f"one of {', '.join(map(str, rule))}" if rule[1:] else repr(rule[0])
    return _WORDS.get(kind, "a value that the schema allows").format(rule=rule)


_TYPES: Final = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a finite number",
    "object": "an object",
    "string": "a string",
}
_UNITS: Final = {
    "Items": ("entry", "entries"),
    "Properties": ("entry", "entries"),
    "Length": ("character", "characters"),
}
_WORDS = {
    "const": "{rule!r}",
    "minimum": "at least {rule}",
    "maximum": "at most {rule}",
    "exclusiveMinimum": "more than {rule}",
    "uniqueItems": "no repeated entry",
    "pattern": "a string that matches {rule}",
}


def _explain_unknown_key(instance: Any, schema: Any) -> tuple[str, str]:
    known: list[str] = sorted(schema.get("properties", {}))
    unknown: str = min(set(instance) - set(known))
    hint = hint_of(unknown, known, cutoff=0.5)
    return f"only the keys {', '.join(known)}", f"the unknown key {shown(unknown)}{hint}"


def _found(value: Any, schema: Any) -> str:
    # A secret may have been put here by mistake; it must not reach a log.
    is_hidden = schema.get("writeOnly", False) and isinstance(value, str)
    return "a string that is not shown, in case it is secret" if is_hidden else shown(value)
