"""Generates JSON Schemas from the types of what is written: report.json, shard.json, the state.

`python -m tests.schemas.generate` writes them; a test fails when they are out of date.
"""

import ast
import dataclasses
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import repro_gate
from repro_gate.adapters.files import codec
from repro_gate.adapters.files.codec import NOT_FINITE
from repro_gate.adapters.files.results import ReportFile, ShardFile
from repro_gate.reports.json import Summary
from repro_gate.reports.watch.data import StateData
from repro_gate.strict_json import MAX_INTEGER

FOLDER = Path(repro_gate.__file__).parent / "schemas"
LAYOUTS: Mapping[str, type] = {"report": ReportFile, "shard": ShardFile, "state": StateData}
"""What is written into each kind of file, and read back."""
DERIVED: Mapping[str, type] = {"report": Summary}
"""What is written beside it for people, and never read back."""

# The end twice: Python takes a `$` for the place before a last newline, and ECMAScript does not.
_PRINTABLE = r"^(?:[^\\]|\\(?:x[0-9a-f]{2}|[\\nrt]))*$(?!\n)"
_SCALARS: Mapping[Any, dict[str, Any]] = {
    int: {
        "description": "A whole number.",
        "type": "integer",
        "minimum": -MAX_INTEGER,
        "maximum": MAX_INTEGER,
    },
    float: {
        "description": "A number with all its digits; the words are those that JSON lacks.",
        "anyOf": [
            {"type": "number", "minimum": -sys.float_info.max, "maximum": sys.float_info.max},
            {"enum": list(NOT_FINITE)},
        ],
    },
    str: {
        "description": (
            "A text as one printable line: \\n, \\r, \\t, \\\\ and, for bytes that are no "
            "printable UTF-8, \\xNN."
        ),
        "type": "string",
        "pattern": _PRINTABLE,
    },
    bytes: {
        "description": "Bytes, written as a text is.",
        "type": "string",
        "pattern": _PRINTABLE,
    },
}


def file_of(name: str) -> Path:
    """Return where the schema of a kind of file is committed."""
    return FOLDER / f"{name}-v1.json"


def text_of(name: str) -> str:
    """Return the content of that file."""
    return json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n"


def schema_of(name: str) -> dict[str, Any]:
    """Return the schema of a kind of file."""
    schemas = _Schemas()
    layout = schemas.fields_of(LAYOUTS[name])
    if name in DERIVED:
        derived = _Schemas(schemas.definitions, is_derived=True).fields_of(DERIVED[name])
        *head, result = layout["properties"].items()
        # As no command reads these, they are not required, and others may stand there.
        layout |= {
            "additionalProperties": True,
            "properties": dict([*head, *derived["properties"].items(), result]),
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:repro-gate:{name}:v1",
        "title": f"{name}.json of repro-gate, version 1",
        "description": _one_line(inspect.getdoc(LAYOUTS[name])),
        **layout,
        "$defs": dict(sorted(schemas.definitions.items())),
    }


def field_texts(kind: type) -> Mapping[str, str]:
    """Return the text beneath each field of a class that has one, as one line."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    texts: dict[str, str] = {}
    name: str | None = None
    for statement in definition.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=str(field))):
                name = field
            case ast.Expr(value=ast.Constant(value=str(text))) if name is not None:
                texts[name] = _one_line(text)
            case _:
                name = None
    return texts


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


class _Schemas:
    """The definitions that a schema refers to, as far as they are known yet."""

    def __init__(
        self, definitions: dict[str, dict[str, Any]] | None = None, *, is_derived: bool = False
    ) -> None:
        self.definitions: dict[str, dict[str, Any]] = {} if definitions is None else definitions
        self._is_derived = is_derived
        self._kinds: dict[str, Any] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type."""
        if codec.is_optional(kind):
            return {"anyOf": [self.of(codec.without_none(kind)), {"type": "null"}]}
        if codec.is_setting(kind):
            plain = ["boolean", "number", "string"]
            return {"type": [*plain, "array"], "items": {"type": plain}}
        if codec.members(kind):
            return {"oneOf": [self._tagged(member) for member in codec.members(kind)]}
        return self._class(kind) if isinstance(kind, type) else self._collection(kind)

    def fields_of(self, kind: type) -> dict[str, Any]:
        """Return what holds for the fields of a class."""
        hints, texts = get_type_hints(kind), field_texts(kind)
        fields = dataclasses.fields(kind)
        return {
            "type": "object",
            "additionalProperties": False,
            "required": [field.name for field in fields if codec.is_needed(field)],
            "properties": {
                field.name: {
                    **({"description": texts[field.name]} if field.name in texts else {}),
                    **self.of(hints[field.name]),
                }
                for field in fields
            },
        }

    def _collection(self, kind: Any) -> dict[str, Any]:
        arguments = get_args(kind)
        if get_origin(kind) is Literal:
            return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
        if get_origin(kind) is Mapping:
            return {
                "type": "object",
                "propertyNames": self.of(arguments[0]),
                "additionalProperties": self.of(arguments[1]),
            }
        if codec.is_sequence(kind):
            return {"type": "array", "items": self.of(arguments[0])}
        if codec.is_set(kind):
            return {"type": "array", "uniqueItems": True, "items": self.of(arguments[0])}
        assert get_origin(kind) is tuple, kind
        return {
            "type": "array",
            "prefixItems": [self.of(item) for item in arguments],
            "minItems": len(arguments),
            "items": False,
        }

    def _class(self, kind: type) -> dict[str, Any]:
        if kind is bool:
            return {"type": "boolean"}
        if self._is_derived and kind in {int, str}:
            return {"type": "integer" if kind is int else "string"}
        return self._reference(codec.snake(kind), kind, lambda: self._definition(kind))

    def _tagged(self, kind: type) -> dict[str, Any]:
        """Return the schema of a member of a union, which is also used without its tag."""
        name = f"tagged_{codec.snake(kind)}"
        return self._reference(name, kind, lambda: self._tagged_definition(kind))

    def _reference(
        self, name: str, kind: type, definition: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        assert self._kinds.setdefault(name, kind) is kind, f"two types are called {name}"
        if name not in self.definitions:
            self.definitions[name] = definition()
        return {"$ref": f"#/$defs/{name}"}

    def _definition(self, kind: type) -> dict[str, Any]:
        if kind in _SCALARS:
            return _SCALARS[kind]
        description = {"description": _one_line(inspect.getdoc(kind))}
        if issubclass(kind, Enum):
            return {**description, "enum": [member.value for member in kind]}
        return {**description, **self.fields_of(kind)}

    def _tagged_definition(self, kind: type) -> dict[str, Any]:
        plain = self._definition(kind)
        return {
            **plain,
            "required": [codec.TAG, *plain["required"]],
            "properties": {codec.TAG: {"const": codec.tag_of(kind)}, **plain["properties"]},
        }


if __name__ == "__main__":
    for each in LAYOUTS:
        file_of(each).write_text(text_of(each), "utf-8")
