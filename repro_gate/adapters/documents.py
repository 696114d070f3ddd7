"""JSON and TOML files of the user's: read strictly, checked against a published schema."""

import difflib
import json
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from repro_gate.core.text import printable
from repro_gate.errors import InputInvalid

MAX_BYTES = 64 * 2**20
_MAX_SHOWN = 80


def read_json(file: Path, *, schema: str) -> Any:
    """Return the content of a JSON file that its schema allows; raises `InputInvalid`.

    NaN, Infinity and a key that comes twice are refused: JSON has none of them.
    """
    try:
        document = json.loads(
            _read(file), parse_constant=_refuse_constant, object_pairs_hook=_unique_keys
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputInvalid.at(file, place, expected="JSON", found=error.msg) from error
    except (ValueError, RecursionError) as error:
        raise InputInvalid.at(file, "", expected="JSON", found=str(error)) from error
    validate(document, schema=schema, file=file)
    return document


def read_toml(file: Path, *, schema: str) -> Any:
    """Return the content of a TOML file that its schema allows; raises `InputInvalid`."""
    try:
        document = tomllib.loads(_read(file))
    except tomllib.TOMLDecodeError as error:
        raise InputInvalid.at(file, "", expected="TOML", found=printable(str(error))) from error
    validate(document, schema=schema, file=file)
    return document


def validate(document: Any, *, schema: str, file: Path) -> None:
    """Raise `InputInvalid` for the most telling way in which the schema is broken."""
    error = best_match(_validator(schema).iter_errors(document))
    if error is not None:
        expected, found = _told(error)
        raise InputInvalid.at(file, _place(error), expected=expected, found=found) from error


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        found = error.strerror or str(error)
        raise InputInvalid.at(file, "", expected="a readable file", found=found) from error
    if len(data) > MAX_BYTES:
        raise InputInvalid.at(
            file, "", expected=f"at most {MAX_BYTES} bytes", found="a larger file"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputInvalid.at(file, f"byte {error.start}", expected="UTF-8", found="not") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no number in JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} twice in one object")
    return document


@cache
def _validator(schema: str) -> Draft202012Validator:
    text = files("repro_gate.schemas").joinpath(f"{schema}.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def _place(error: ValidationError) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path]
    return printable("".join(steps).lstrip("."))


def _told(error: ValidationError) -> tuple[str, str]:
    """Return what was expected and what was found, in words."""
    # jsonschema types every part of an error as "anything or unset".
    rule: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    match error.validator:
        case "additionalProperties":
            return _told_unknown_key(instance, schema)
        case "required":
            missing = [name for name in rule if name not in instance]
            return f"the key {missing[0]!r}", "none"
        case "minItems" | "minProperties" | "minLength":
            return f"at least {rule} of them", f"{len(instance)}"
        case None:
            return "no such key here", _shown(instance)
        case validator:
            words = _WORDS.get(str(validator), "what the schema says")
            text = schema.get("description") or words.format(rule=rule)
            return str(text), _shown(instance)


_WORDS = {
    "type": "{rule}",
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


def _shown(value: Any) -> str:
    text = "a table" if isinstance(value, Mapping) else printable(repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
