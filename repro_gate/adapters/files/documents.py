"""Read JSON and TOML files strictly, and validate them against the published schemas."""

import difflib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match  # pyright: ignore[reportUnknownVariableType]
from jsonschema.validators import extend  # pyright: ignore[reportUnknownVariableType]

from repro_gate.adapters.files.parsing import (
    Limits,
    TooManyValues,
    clipped,
    json_of,
    require_few_values,
    shown,
    toml_of,
)
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.core.text import escape_text
from repro_gate.errors import InputInvalid
from repro_gate.strict_json import is_number

_LIMITS: Final[Mapping[str, Limits]] = {
    "matrix-v1": Limits(max_bytes=4 << 20, max_values=60_000),
    "golden-v1": Limits(max_bytes=8 << 20, max_values=250_000),
    "baseline-v1": Limits(max_bytes=8 << 20, max_values=250_000),
    "models-v1": Limits(max_bytes=1 << 20, max_values=10_000),
}
"""By schema: far more than needed, and small enough to refuse a file within two seconds."""
_MAX_COMPARED: Final = 100
"""Characters of a name for which similar names are suggested; longer ones are not typos."""
_MAX_PLACE: Final = 300
MAX_CELLS: Final = 100_000
"""Of one suite."""


def read_json(file: Path, *, schema: str, limits: Limits | None = None) -> Any:
    """Read and validate a JSON file; raises `InputInvalid`."""
    limits = limits or _LIMITS[schema]
    data = read_regular_file(file, max_bytes=limits.max_bytes)
    return parse_json(data, file=file, schema=schema, limits=limits)


def parse_json(data: bytes, *, file: Path, schema: str, limits: Limits | None = None) -> Any:
    """Parse and validate the bytes of a JSON file; raises `InputInvalid`."""
    document = json_of(data, file, limits or _LIMITS[schema])
    validate(document, schema=schema, file=file)
    return document


def read_toml(file: Path, *, schema: str, limits: Limits | None = None) -> Any:
    """Read and validate a TOML file; raises `InputInvalid`."""
    limits = limits or _LIMITS[schema]
    document = toml_of(read_regular_file(file, max_bytes=limits.max_bytes), file, limits)
    validate(document, schema=schema, file=file)
    return document


def max_bytes_of(schema: str) -> int:
    """Return the size limit of files of a schema."""
    return _LIMITS[schema].max_bytes


class TooLarge(InputInvalid):
    """A file to be written would be too large to be read again."""


def require_readable(text: str, *, schema: str, file: Path, remedy: str) -> None:
    """Raise `TooLarge` for a JSON text that exceeds the limits of its schema."""
    limits = _LIMITS[schema]
    size = len(text.encode("utf-8"))
    try:
        if size > limits.max_bytes:
            expected = f"at most {limits.max_bytes} bytes; {remedy}"
            raise TooLarge.at(file, "", expected=expected, found=str(size))
        require_few_values(text, limits)
    except TooManyValues as error:
        expected = f"at most {limits.max_values} values; {remedy}"
        raise TooLarge.at(file, "", expected=expected, found="more of them") from error


def validate(document: Any, *, schema: str, file: Path) -> None:
    """Validate a document; raises `InputInvalid` with the most relevant error."""
    try:
        error: ValidationError | None = best_match(_validator(schema).iter_errors(document))  # pyright: ignore[reportUnknownVariableType]
        if isinstance(error, ValidationError):
            expected, found = _explain(error)
            raise InputInvalid.at(file, _place(error), expected=expected, found=found) from error
    except RecursionError as exhausted:
        # Parsing needs less of the stack than showing.
        raise InputInvalid.at(
            file,
            "",
            expected="a value that the schema allows",
            found="a value that is nested too deeply",
        ) from exhausted


def require_known(file: Path, place: str, name: str, known: Collection[str]) -> str:
    """Return a name that the file defines; raises `InputInvalid` for any other."""
    if name in known:
        return name
    expected = f"one of {', '.join(known)}" if known else "a name that the file defines"
    found = f"{shown(name)}{_hint(name, known)}"
    raise InputInvalid.at(file, place, expected=clipped(expected, _MAX_PLACE), found=found)


def require_bounded(file: Path, place: str, cells: int) -> None:
    """Raise `InputInvalid` for too many cells: a small file can define billions."""
    if cells > MAX_CELLS:
        expected = f"at most {MAX_CELLS} cells"
        raise InputInvalid.at(file, place, expected=expected, found=str(cells))


def _hint(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    near = difflib.get_close_matches(name[:_MAX_COMPARED], known, n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near and len(name) <= _MAX_COMPARED else ""


def _is_integer(checker: object, instance: object) -> bool:
    # JSON Schema takes 10.0 for an integer.
    del checker
    return type(instance) is int


def _is_number(checker: object, instance: object) -> bool:
    # TOML has nan and inf, and Python reads 1e999 as infinity.
    del checker
    return is_number(instance) and -math.inf < instance < math.inf


def _first_bad(errors_of: Iterable[Iterator[ValidationError]]) -> Iterator[ValidationError]:
    """Yield the errors of the first value that has any."""
    for errors in errors_of:
        if (first := next(errors, None)) is not None:
            yield from chain([first], errors)
            return


def _items(validator: Any, schema: Any, values: Any, whole: Any) -> Iterator[ValidationError]:
    if isinstance(values, list):
        first = len(whole.get("prefixItems", ()))
        yield from _first_bad(
            validator.descend(values[index], schema, path=index)
            for index in range(first, len(values))  # pyright: ignore[reportUnknownArgumentType]
        )


def _property_names(validator: Any, schema: Any, table: Any, _: Any) -> Iterator[ValidationError]:
    if isinstance(table, dict):
        yield from _first_bad(validator.descend(name, schema) for name in table)  # pyright: ignore[reportUnknownVariableType]


def _additional_properties(
    validator: Any, schema: Any, table: Any, whole: Any
) -> Iterator[ValidationError]:
    if not isinstance(table, dict):
        return
    extras = [name for name in table if name not in whole.get("properties", {})]  # pyright: ignore[reportUnknownVariableType]
    if schema is False and extras:
        yield ValidationError("an unknown key")
    elif schema is not False:
        yield from _first_bad(
            validator.descend(table[name], schema, path=name)
            for name in extras  # pyright: ignore[reportUnknownVariableType]
        )


def _unique_items(_: Any, is_unique: Any, values: Any, __: Any) -> Iterator[ValidationError]:
    seen: set[str] = set()
    for index, value in enumerate(values if is_unique and isinstance(values, list) else ()):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        spelled = json.dumps(value, sort_keys=True, default=str)
        if spelled in seen:
            yield ValidationError("twice", path=[index], instance=value)
            return
        seen.add(spelled)


# jsonschema's own keywords continue after the first invalid value, put all unknown keys into a
# message that is not used, and compare all pairs of a list.
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    validators={
        "additionalProperties": _additional_properties,
        "items": _items,
        "propertyNames": _property_names,
        "uniqueItems": _unique_items,
    },
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


@cache
def _validator(schema: str) -> Any:
    text = files("repro_gate.schemas").joinpath(f"{schema}.json").read_text(encoding="utf-8")
    return _Validator(json.loads(text))


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
        case "minItems" | "minProperties" | "minLength":
            one, many = _UNITS[kind]
            return f"at least {rule} {one if rule == 1 else many}", f"{len(instance)}"
        case None:
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
        return f"one of {', '.join(map(str, rule))}"
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
    "minItems": ("entry", "entries"),
    "minProperties": ("entry", "entries"),
    "minLength": ("character", "characters"),
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
    hint = _hint(unknown, known, cutoff=0.5)
    return f"only the keys {', '.join(known)}", f"the unknown key {shown(unknown)}{hint}"


def _found(value: Any, schema: Any) -> str:
    # A secret may have been put here by mistake; it must not reach a log.
    is_hidden = schema.get("writeOnly", False) and isinstance(value, str)
    return "a string that is not shown, in case it is secret" if is_hidden else shown(value)
