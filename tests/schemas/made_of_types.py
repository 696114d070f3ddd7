"""JSON Schemas of the files whose content is a value of the core: made of its types.

`python -m tests.schemas.generate` writes them; a test holds that they are up to date.
"""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, get_args, get_type_hints

from repro_gate.adapters import lossless_kinds as kinds
from repro_gate.adapters.evidence_file import EvidenceFile
from repro_gate.adapters.lossless import TAG
from repro_gate.adapters.lossless_scalars import LARGEST_INT, NOT_FINITE
from repro_gate.adapters.shard_files import ShardFile
from tests.schemas.field_texts import field_texts, one_line

LAYOUTS: Mapping[str, type] = {"evidence": EvidenceFile, "shard": ShardFile}
"""What each kind of file says."""

# The end twice: Python takes a `$` for the place before a last newline, and ECMAScript does not.
_PRINTABLE = r"^(?:[^\\]|\\(?:x[0-9a-f]{2}|[\\nrt]))*$(?!\n)"
_SCALARS: Mapping[Any, dict[str, Any]] = {
    int: {
        "description": "A whole number.",
        "type": "integer",
        "minimum": -LARGEST_INT,
        "maximum": LARGEST_INT,
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


def schema_of(name: str) -> dict[str, Any]:
    """Return the schema of a kind of file."""
    schemas = _Schemas()
    layout = schemas.fields_of(LAYOUTS[name])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:repro-gate:{name}:v1",
        "title": f"{name}.json of repro-gate, version 1",
        "description": one_line(inspect.getdoc(LAYOUTS[name]) or ""),
        **layout,
        "$defs": dict(sorted(schemas.definitions.items())),
    }


class _Schemas:
    """The definitions that a schema refers to, as far as they are known yet."""

    def __init__(self) -> None:
        self.definitions: dict[str, dict[str, Any]] = {}
        self._kinds: dict[str, Any] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type."""
        if kinds.is_optional(kind):
            return {"anyOf": [self.of(kinds.without_none(kind)), {"type": "null"}]}
        if kinds.is_tagged(kind):
            return {"oneOf": [self._tagged(member) for member in kinds.members(kind)]}
        if kinds.is_setting(kind):
            return {"type": ["boolean", "number", "string"]}
        if kinds.is_literal(kind):
            (value,) = get_args(kind)
            return {"const": value}
        if kind is bool:
            return {"type": "boolean"}
        return self._named(kind) if isinstance(kind, type) else self._collection(kind)

    def fields_of(self, kind: type) -> dict[str, Any]:
        """Return what holds for the fields of a class."""
        hints, texts = get_type_hints(kind), field_texts(kind)
        fields = dataclasses.fields(kind)
        return {
            "type": "object",
            "additionalProperties": False,
            "required": [field.name for field in fields if _is_needed(field)],
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
        if kinds.is_mapping(kind):
            return {
                "type": "object",
                "propertyNames": self.of(arguments[0]),
                "additionalProperties": self.of(arguments[1]),
            }
        if kinds.is_sequence(kind):
            return {"type": "array", "items": self.of(arguments[0])}
        assert kinds.is_tuple(kind), kind
        return {
            "type": "array",
            "prefixItems": [self.of(item) for item in arguments],
            "minItems": len(arguments),
            "items": False,
        }

    def _named(self, kind: type) -> dict[str, Any]:
        return self._reference(kinds.snake(kind), kind, lambda: self._definition(kind))

    def _tagged(self, kind: type) -> dict[str, Any]:
        """Return the schema of a member of a union, which is also used without its tag."""
        name = f"tagged_{kinds.snake(kind)}"
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
        description = {"description": one_line(inspect.getdoc(kind) or "")}
        if issubclass(kind, Enum):
            return {**description, "enum": [member.value for member in kind]}
        return {**description, **self.fields_of(kind)}

    def _tagged_definition(self, kind: type) -> dict[str, Any]:
        plain = self._definition(kind)
        return {
            **plain,
            "required": [TAG, *plain["required"]],
            "properties": {TAG: {"const": kinds.tag_of(kind)}, **plain["properties"]},
        }


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    """Tell whether a file needs the key: what came later has a default, for older files."""
    no_value = dataclasses.MISSING
    return field.default is no_value and field.default_factory is no_value
