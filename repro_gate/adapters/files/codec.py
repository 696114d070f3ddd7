"""Values of the core as plain JSON data, and back to the last bit.

The types alone decide what is written and what is read: a value of another type or an unknown key
is an error that names its place. Text and bytes are one printable line each, as in a golden; see
`repro_gate.core.text`. The JSON Schemas are generated from the same types; reading does not use
them, as validation would take ten times as long as everything else.
"""

import dataclasses
import re
from collections.abc import Mapping
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from repro_gate.adapters.files.codec_scalars import (
    SCALARS,
    SETTING,
    TEXT,
    Codec,
    enum_codec,
    literal_codec,
    refused,
    shown,
)
from repro_gate.strict_json import InvalidJson, array, exact_table, list_of, table

TAG: Final = "kind"
"""The key whose word tells the members of a union apart."""


def encode(value: object, kind: Any) -> Any:
    """Return a value of a type, or of a member of a union, as plain JSON data."""
    return _codec_of(kind).write(value)


def decode(data: object, kind: Any) -> Any:
    """Return the value that JSON data describes.

    Raises:
        InvalidJson: it describes no value of this type.
    """
    return _codec_of(kind).read(data)


def tag_of(kind: type) -> str:
    """Return the word for a member of a union: its `word`, or its name."""
    word = getattr(kind, "word", None)
    return word if isinstance(word, str) else snake(kind)


def snake(kind: type) -> str:
    """Return the name of a class in snake_case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


def members(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union without None; none when it is no union."""
    inner = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    return tuple(member for member in inner if member is not NoneType)


def is_optional(kind: Any) -> bool:
    """Return whether a union has None among its members."""
    return NoneType in get_args(kind)


def is_setting(kind: Any) -> bool:
    """Return whether it is a union of plain values, such as a setting of an engine."""
    return bool(members(kind)) and {*members(kind)} <= {bool, int, float, str}


def without_none(kind: Any) -> Any:
    """Return an optional type without None."""
    return Union[members(kind)]  # noqa: UP007 -- the members are known only here


def is_sequence(kind: Any) -> bool:
    """Return whether it is a tuple of any length."""
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


@cache
def _codec_of(kind: Any) -> Codec:
    if isinstance(kind, type):
        return _class_codec(kind)
    if is_optional(kind):
        return _optional_codec(_codec_of(without_none(kind)))
    if members(kind):
        return SETTING if is_setting(kind) else _union_codec(members(kind))
    if get_origin(kind) is Literal:
        return literal_codec(get_args(kind))
    return _collection_codec(kind)


def _collection_codec(kind: Any) -> Codec:
    arguments = get_args(kind)
    if is_sequence(kind):
        return _sequence_codec(_codec_of(arguments[0]))
    if get_origin(kind) is tuple:
        return _tuple_codec(tuple(map(_codec_of, arguments)))
    if get_origin(kind) is Mapping:
        return _mapping_codec(_codec_of(arguments[1]))
    raise TypeError(f"no JSON form for {kind}")


def _class_codec(kind: type) -> Codec:
    if kind in SCALARS:
        return SCALARS[kind]
    return enum_codec(kind) if issubclass(kind, Enum) else _object_codec(kind)


def _optional_codec(inner: Codec) -> Codec:
    return Codec(
        lambda value: None if value is None else inner.write(value),
        lambda data: None if data is None else inner.read(data),
    )


def _sequence_codec(item: Codec) -> Codec:
    return Codec(
        lambda values: [item.write(value) for value in values],
        lambda data: tuple(list_of(item.read, data)),
    )


def _tuple_codec(items: tuple[Codec, ...]) -> Codec:
    def read(data: Any) -> tuple[Any, ...]:
        values = array(data)
        if len(values) != len(items):
            expected, found = f"a list of {len(items)}", f"one of {len(values)}"
            raise InvalidJson("", expected=expected, found=found)
        return tuple(_read_at(index, item, values[index]) for index, item in enumerate(items))

    return Codec(
        lambda values: [item.write(value) for item, value in zip(items, values, strict=True)], read
    )


def _mapping_codec(item: Codec) -> Codec:
    def read(data: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for spelled, value in table(data).items():
            name = _read_at(spelled, TEXT, spelled)
            if name in found:
                expected = "only one spelling of each key"
                raise InvalidJson("", expected=expected, found="another").inside(spelled)
            found[name] = _read_at(spelled, item, value)
        return found

    return Codec(
        lambda values: {TEXT.write(name): item.write(value) for name, value in values.items()}, read
    )


def _union_codec(kinds: tuple[type, ...]) -> Codec:
    codecs = {tag_of(kind): _codec_of(kind) for kind in kinds}
    tags = {kind: tag_of(kind) for kind in kinds}

    def write(value: Any) -> dict[str, Any]:
        tag = tags[type(value)]
        return {TAG: tag, **codecs[tag].write(value)}

    def read(data: Any) -> Any:
        found = dict(table(data))
        tag = found.pop(TAG, None)
        if not isinstance(tag, str) or tag not in codecs:
            raise InvalidJson(f".{TAG}", expected=f"one of {', '.join(codecs)}", found=shown(tag))
        return codecs[tag].read(found)

    return Codec(write, read)


def _object_codec(kind: type) -> Codec:
    codecs = {name: _codec_of(hint) for name, hint in _fields(kind)}
    # A key that came later has a default, so that older files can be read.
    needed = frozenset(field.name for field in dataclasses.fields(kind) if is_needed(field))

    def write(value: Any) -> dict[str, Any]:
        return {name: codec.write(getattr(value, name)) for name, codec in codecs.items()}

    def read(data: Any) -> Any:
        found, values = table(data), dict[str, Any]()
        # In the order of the fields, so that a file of another version is one in the message.
        for name, codec in codecs.items():
            if name in found:
                values[name] = _read_at(name, codec, found[name])
            elif name in needed:
                raise InvalidJson("", expected=f"the key {name!r}", found="none")
        if len(values) < len(found):
            exact_table(found, "", keys=(), optional=codecs)
        try:
            return kind(**values)
        except ValueError as error:
            expected = f"a consistent {snake(kind).replace('_', ' ')}"
            raise refused(error, expected=expected) from error

    return Codec(write, read)


def _read_at(step: str | int, codec: Codec, data: Any) -> Any:
    try:
        return codec.read(data)
    except InvalidJson as error:
        error.inside(step)
        raise


def _fields(kind: type) -> list[tuple[str, Any]]:
    hints = get_type_hints(kind)
    return [(field.name, hints[field.name]) for field in dataclasses.fields(kind)]


def is_needed(field: dataclasses.Field[Any]) -> bool:
    """Return whether a file needs the key of a field: it has no default."""
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing
