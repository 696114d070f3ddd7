"""Values of the core as plain JSON data, and back to the last bit.

The types say what is written and what is read, so that a value of another type or a key too many
is refused, and told by its place. Text and bytes are one printable line each, as they are in a
golden; see `repro_gate.core.text`. The JSON Schemas are made of the same types, and reading does
without them: they would take ten times as long as all the rest.
"""

import dataclasses
from collections.abc import Callable, Mapping
from enum import IntEnum, StrEnum
from functools import cache
from typing import Any, Final, TypeAlias, get_args

from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from repro_gate.adapters import lossless_kinds as kinds
from repro_gate.adapters import lossless_scalars as scalars
from repro_gate.adapters.lossless_scalars import Refused
from repro_gate.core.text import printable, spell

TAG: Final = "kind"
"""The key of the word that says which one of several types a value is of."""
_Write: TypeAlias = Callable[[Any], Any]
_Read: TypeAlias = Callable[[Any, Any], Any]


def encode(value: object, kind: Any) -> Any:
    """Return a value of a type, or of one of the types of a union, as plain JSON data."""
    return _converter().unstructure(value, unstructure_as=kind)


def decode(data: object, kind: Any) -> Any:
    """Return the value that JSON data describes.

    Raises:
        Refused: it describes none of this type.
    """
    return _converter().structure(data, kind)


@cache
def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)
    for kind, write, read in (
        (bool, scalars.write_same, scalars.read_bool),
        (int, scalars.write_same, scalars.read_int),
        (float, scalars.write_float, scalars.read_float),
        (str, printable, scalars.read_text),
        (bytes, spell, scalars.read_bytes),
        # A StrEnum is a str, and would be read as one.
        (StrEnum, scalars.write_enum, scalars.read_enum),
        (IntEnum, scalars.write_enum, scalars.read_enum),
    ):
        converter.register_unstructure_hook(kind, write)
        converter.register_structure_hook(kind, read)
    for applies, write, read in (
        (kinds.is_literal, scalars.write_same, scalars.read_literal),
        (kinds.is_setting, scalars.write_setting, scalars.read_setting),
    ):
        converter.register_unstructure_hook_func(applies, write)
        converter.register_structure_hook_func(applies, read)
    for applies, writer, reader in (
        (kinds.is_sequence, _sequence_writer, _sequence_reader),
        (kinds.is_tuple, _tuple_writer, _tuple_reader),
        (kinds.is_mapping, _mapping_writer, _mapping_reader),
        (kinds.is_optional, _optional_writer, _optional_reader),
        (kinds.is_tagged, _tagged_writer, _tagged_reader),
    ):
        converter.register_unstructure_hook_factory(applies, writer)
        converter.register_structure_hook_factory(applies, reader)
    converter.register_structure_hook_factory(dataclasses.is_dataclass, _object_reader)
    return converter


def _sequence_writer(kind: Any, converter: Converter) -> _Write:
    write = converter.get_unstructure_hook(get_args(kind)[0])
    return lambda values: [write(value) for value in values]


def _sequence_reader(kind: Any, converter: Converter) -> _Read:
    item = get_args(kind)[0]
    read = converter.get_structure_hook(item)

    def read_all(data: Any, _: Any) -> tuple[Any, ...]:
        found: list[Any] = []
        values = _list(data)
        try:
            # Up to the first that is refused: there may be millions.
            for value in values:
                found.append(read(value, item))  # noqa: PERF401 -- their number is the place
        except Refused as refused:
            refused.steps.append(len(found))
            raise
        return tuple(found)

    return read_all


def _tuple_writer(kind: Any, converter: Converter) -> _Write:
    writers = [converter.get_unstructure_hook(item) for item in get_args(kind)]
    return lambda values: [write(value) for write, value in zip(writers, values, strict=True)]


def _tuple_reader(kind: Any, converter: Converter) -> _Read:
    readers = [(converter.get_structure_hook(item), item) for item in get_args(kind)]

    def read_all(data: Any, _: Any) -> tuple[Any, ...]:
        found: list[Any] = []
        values = _list(data)
        if len(values) != len(readers):
            raise Refused(expected=f"a list of {len(readers)}", found=f"one of {len(values)}")
        try:
            for (read, item), value in zip(readers, values, strict=True):
                found.append(read(value, item))
        except Refused as refused:
            refused.steps.append(len(found))
            raise
        return tuple(found)

    return read_all


def _mapping_writer(kind: Any, converter: Converter) -> _Write:
    write = converter.get_unstructure_hook(get_args(kind)[1])
    return lambda values: {printable(name): write(value) for name, value in values.items()}


def _mapping_reader(kind: Any, converter: Converter) -> _Read:
    item = get_args(kind)[1]
    read = converter.get_structure_hook(item)

    def read_all(data: Any, _: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for spelled, value in _object(data).items():
            try:
                name = scalars.read_text(spelled, str)
                if name in found:
                    raise Refused.of(name, expected="only one spelling of each key")
                found[name] = read(value, item)
            except Refused as refused:
                refused.steps.append(spelled)
                raise
        return found

    return read_all


def _optional_writer(kind: Any, converter: Converter) -> _Write:
    write = converter.get_unstructure_hook(kinds.without_none(kind))
    return lambda value: None if value is None else write(value)


def _optional_reader(kind: Any, converter: Converter) -> _Read:
    given = kinds.without_none(kind)
    read = converter.get_structure_hook(given)
    return lambda data, _: None if data is None else read(data, given)


def _tagged_writer(kind: Any, converter: Converter) -> _Write:
    writers = {
        member: (kinds.tag_of(member), converter.get_unstructure_hook(member))
        for member in kinds.members(kind)
    }

    def write(value: Any) -> dict[str, Any]:
        tag, write_fields = writers[type(value)]
        return {TAG: tag, **write_fields(value)}

    return write


def _tagged_reader(kind: Any, converter: Converter) -> _Read:
    readers = {
        kinds.tag_of(member): (converter.get_structure_hook(member), member)
        for member in kinds.members(kind)
    }

    def read(data: Any, _: Any) -> Any:
        fields = dict(_object(data))
        tag = fields.pop(TAG, None)
        if not isinstance(tag, str) or tag not in readers:
            refused = Refused.of(tag, expected=f"one of {', '.join(readers)}")
            refused.steps.append(TAG)
            raise refused
        read_fields, member = readers[tag]
        return read_fields(fields, member)

    return read


def _object_reader(kind: Any, converter: Converter) -> _Read:
    read_fields = make_dict_structure_fn(kind, converter)

    def read(data: Any, _: Any) -> Any:
        try:
            return read_fields(_object(data), kind)
        except ClassValidationError as errors:
            raise _first(errors, kind) from errors

    return read


def _first(errors: ClassValidationError, kind: type) -> Refused:
    """Return what is wrong with an object, in the order of its fields."""
    of_fields, of_all = errors.group_exceptions()
    for error, note in of_fields:
        if isinstance(error, Refused):
            # On its way it gets a note from each object, and the first is taken for the place.
            error.__notes__.clear()
            error.steps.append(note.name)
            return error
        if isinstance(error, KeyError):
            return Refused(expected=f"the key {note.name!r}", found="none")
        raise error
    for error in of_all:
        if isinstance(error, ForbiddenExtraKeysError):
            known = ", ".join(field.name for field in dataclasses.fields(kind))
            return Refused.of(min(error.extra_fields), expected=f"only the keys {known}")
        if isinstance(error, ValueError):
            name = kinds.snake(kind).replace("_", " ")
            return Refused.by(error, expected=f"a consistent {name}")
        raise error
    raise errors


def _object(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise Refused.of(data, expected="an object")
    return data  # pyright: ignore[reportUnknownVariableType] -- JSON has texts alone for keys


def _list(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise Refused.of(data, expected="a list")
    return data  # pyright: ignore[reportUnknownVariableType] -- of anything
