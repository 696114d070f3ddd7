"""JSON and TOML files of the user's: read strictly, checked against a published schema."""

import difflib
import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match  # pyright: ignore[reportUnknownVariableType]
from jsonschema.validators import extend  # pyright: ignore[reportUnknownVariableType]

from repro_gate.core.text import printable
from repro_gate.errors import InputInvalid

MAX_BYTES = 64 * 2**20
_MAX_SHOWN = 80


def read_json(file: Path, *, schema: str, max_bytes: int = MAX_BYTES) -> Any:
    """Return the content of a JSON file that its schema allows; raises `InputInvalid`."""
    document = parse_json(file, max_bytes=max_bytes)
    validate(document, schema=schema, file=file)
    return document


def parse_json(file: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return the content of a JSON file, whatever it says; raises `InputInvalid`.

    NaN, Infinity, a key that comes twice and half a surrogate pair are refused: they are no text
    or number that could be written again.
    """
    text = _read(file, max_bytes)
    try:
        document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputInvalid.at(file, place, expected="JSON", found=error.msg) from error
    except (ValueError, RecursionError) as error:
        raise InputInvalid.at(file, "", expected="JSON", found=str(error)) from error
    return document


def read_toml(file: Path, *, schema: str, max_bytes: int = MAX_BYTES) -> Any:
    """Return the content of a TOML file that its schema allows; raises `InputInvalid`."""
    text = _read(file, max_bytes)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputInvalid.at(file, "", expected="TOML", found=printable(str(error))) from error
    validate(document, schema=schema, file=file)
    return document


def validate(document: Any, *, schema: str, file: Path) -> None:
    """Raise `InputInvalid` for the most telling way in which the schema is broken."""
    try:
        error: ValidationError | None = best_match(_validator(schema).iter_errors(document))  # pyright: ignore[reportUnknownVariableType]
        if isinstance(error, ValidationError):
            expected, found = _told(error)
            raise InputInvalid.at(file, _place(error), expected=expected, found=found) from error
    except RecursionError as exhausted:
        # What could just be parsed cannot always be shown.
        raise InputInvalid.at(
            file, "", expected="what the schema says", found="a value that is nested too deeply"
        ) from exhausted


def require_known(file: Path, place: str, name: str, names: Iterable[str]) -> str:
    """Return a name that another part of the file defines; raises `InputInvalid`."""
    known = list(names)
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    expected = f"one of {', '.join(known)}" if known else "a name that the file defines"
    raise InputInvalid.at(file, place, expected=expected, found=f"{name!r}{hint}")


def _read(file: Path, max_bytes: int) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        found = error.strerror or str(error)
        raise InputInvalid.at(file, "", expected="a readable file", found=found) from error
    if len(data) > max_bytes:
        raise InputInvalid.at(
            file, "", expected=f"at most {max_bytes} bytes", found="a larger file"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"the byte {data[error.start]:#04x}"
        raise InputInvalid.at(file, f"byte {error.start}", expected="UTF-8", found=found) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no number in JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r} twice in one object")
    return document


def _is_integer(checker: object, instance: object) -> bool:
    # To JSON Schema 10.0 is an integer, but nobody can run a cell 10.0 times.
    del checker
    return isinstance(instance, int) and not isinstance(instance, bool)


_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


@cache
def _validator(schema: str) -> Any:
    text = files("repro_gate.schemas").joinpath(f"{schema}.json").read_text(encoding="utf-8")
    return _Validator(json.loads(text))


def _place(error: ValidationError) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path]
    return printable("".join(steps).lstrip("."))


def _told(error: ValidationError) -> tuple[str, str]:
    """Return what was expected and what was found, in words."""
    # jsonschema types every part of an error as "anything or unset".
    rule: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    kind: Any = error.validator
    match kind:
        case "additionalProperties":
            return _told_unknown_key(instance, schema)
        case "required":
            missing = [name for name in rule if name not in instance]
            return f"the key {missing[0]!r}", "none"
        case "minItems" | "minProperties" | "minLength":
            return f"at least {rule} of them", f"{len(instance)}"
        case None:
            return "no such key here", _shown(instance)
        case _:
            return _told_rule(str(kind), rule, schema), _found(instance, schema)


def _told_rule(kind: str, rule: Any, schema: Any) -> str:
    # A description that is a sentence tells what the value is for, not what it may be.
    description = str(schema.get("description", ""))
    if description[:1].islower():
        return description
    if kind == "type":
        return rule if isinstance(rule, str) else " or ".join(rule)
    return _WORDS.get(kind, "what the schema says").format(rule=rule)


_WORDS = {
    "const": "{rule!r}",
    "enum": "one of {rule}",
    "minimum": "at least {rule}",
    "maximum": "at most {rule}",
    "exclusiveMinimum": "more than {rule}",
    "uniqueItems": "no entry twice",
    "pattern": "a text like {rule}",
}


def _told_unknown_key(instance: Any, schema: Any) -> tuple[str, str]:
    known: list[str] = sorted(schema.get("properties", {}))
    unknown: str = min(set(instance) - set(known))
    near = difflib.get_close_matches(unknown, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"only the keys {', '.join(known)}", f"the unknown key {_shown(unknown)}{hint}"


def _found(value: Any, schema: Any) -> str:
    # Where a secret is easily put by mistake, what was put there must not reach a log.
    is_hidden = schema.get("writeOnly", False) and isinstance(value, str)
    return "a text that is not shown, in case it is secret" if is_hidden else _shown(value)


def _shown(value: Any) -> str:
    text = "a table" if isinstance(value, Mapping) else printable(repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
