"""Values of the core as plain JSON data, and back to the last bit.

The types alone decide what is written and what is read: a value of another type or an unknown key
is an error that names its place. Text and bytes are one printable line each, as in a golden; see
`repro_gate.core.text`. The JSON Schemas are generated from the same types; reading does not use
them, as validation would take ten times as long as everything else.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from repro_gate.core.text import escape_bytes, escape_text, unescape_bytes, unescape_text
from repro_gate.strict_json import (
    InvalidJson,
    array,
    boolean,
    exact_table,
    integer,
    is_list,
    kind_of,
    list_of,
    number,
    string,
    table,
)

NOT_FINITE: Final = ("inf", "-inf", "nan")
"""The numbers that JSON does not have, as words."""
_MAX_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class _Codec:
    """How values of one type are written as JSON data, and read."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    """Raises `InvalidJson`."""


def _enum_codec(kind: type[Enum]) -> _Codec:
    """Return the codec of named values: each is written as what it stands for."""
    members = {member.value: member for member in kind}
    known = list(members)

    def read(data: Any) -> Enum:
        # True equals 1, and is no member.
        if type(data) not in map(type, known) or data not in members:
            expected = f"one of {', '.join(map(str, known))}"
            raise InvalidJson("", expected=expected, found=_shown(data))
        return members[data]

    return _Codec(lambda member: member.value, read)


def _literal_codec(values: tuple[Any, ...]) -> _Codec:
    """Return the codec of a fixed list of values."""

    def read(data: Any) -> Any:
        if not any(type(data) is type(value) and data == value for value in values):
            raise InvalidJson("", expected=" or ".join(map(repr, values)), found=_shown(data))
        return data

    return _Codec(_same, read)


def _same(value: Any) -> Any:
    return value


def _write_float(value: float) -> float | str:
    return float(value) if math.isfinite(value) else repr(float(value))


def _write_setting(value: Any) -> Any:
    if is_list(value):
        return list(map(_write_setting, value))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a setting must be finite, got {value}")
    return escape_text(value) if isinstance(value, str) else value


def _read_float(data: Any) -> float:
    return float(data) if isinstance(data, str) and data in NOT_FINITE else number(data)


def _read_text(data: Any) -> str:
    found = string(data)
    if found.isascii() and "\\" not in found:
        return found
    try:
        return unescape_text(found)
    except ValueError as error:
        raise _refused(error, expected="an escaped string") from error


def _read_bytes(data: Any) -> bytes:
    try:
        return unescape_bytes(string(data))
    except InvalidJson:
        raise
    except ValueError as error:
        raise _refused(error, expected="escaped bytes") from error


def _read_setting(data: Any) -> Any:
    if is_list(data):
        return list_of(_read_plain, data)
    return _read_plain(data)


def _read_plain(data: Any) -> Any:
    if isinstance(data, str):
        return _read_text(data)
    is_finite = not isinstance(data, float) or math.isfinite(data)
    if type(data) not in {bool, int, float} or not is_finite:
        raise InvalidJson("", expected="a setting", found=kind_of(data))
    return data


_TEXT: Final = _Codec(escape_text, _read_text)
_SETTING: Final = _Codec(_write_setting, _read_setting)
"""Of a value whose own type says what it is: true, 1, 1.0, "1" and [1] are five settings."""
_SCALARS: Final[dict[type, _Codec]] = {
    bool: _Codec(_same, boolean),
    int: _Codec(_same, integer),
    float: _Codec(_write_float, _read_float),
    str: _TEXT,
    bytes: _Codec(escape_bytes, _read_bytes),
}


def _refused(error: ValueError, *, expected: str) -> InvalidJson:
    """Return the error for data that a constructor or a parser _refused."""
    return InvalidJson("", expected=expected, found=_clipped(str(error)))


def _shown(data: object) -> str:
    """Return a value as a safe line of limited length."""
    return _clipped(repr(data)) if isinstance(data, str) else kind_of(data)


def _clipped(text: str) -> str:
    """Return a text as a safe line of limited length."""
    line = escape_text(text)
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."


TAG: Final = "kind"
"""The key whose word distinguishes the members of a union."""


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
    """Return whether it is a union of plain values and lists of them, a setting of an engine."""
    plain = {member for member in members(kind) if not is_sequence(member)}
    return bool(plain) and plain <= {bool, int, float, str}


def without_none(kind: Any) -> Any:
    """Return an optional type without None."""
    return Union[members(kind)]  # noqa: UP007 -- the members are known only here


def is_sequence(kind: Any) -> bool:
    """Return whether it is a sequence, or a tuple of any length."""
    is_tuple = get_origin(kind) is tuple and get_args(kind)[1:] == (...,)
    return is_tuple or get_origin(kind) is Sequence


def is_set(kind: Any) -> bool:
    """Return whether it is a set, which is written as a sorted list."""
    return get_origin(kind) is frozenset


@cache
def _codec_of(kind: Any) -> _Codec:
    if isinstance(kind, type):
        return _class_codec(kind)
    if is_optional(kind):
        return _optional_codec(_codec_of(without_none(kind)))
    if members(kind):
        return _SETTING if is_setting(kind) else _union_codec(members(kind))
    if get_origin(kind) is Literal:
        return _literal_codec(get_args(kind))
    return _collection_codec(kind)


def _collection_codec(kind: Any) -> _Codec:
    arguments = get_args(kind)
    if is_sequence(kind):
        return _sequence_codec(_codec_of(arguments[0]))
    if is_set(kind):
        return _set_codec(_codec_of(arguments[0]))
    if get_origin(kind) is tuple:
        return _tuple_codec(tuple(map(_codec_of, arguments)))
    if get_origin(kind) is Mapping:
        return _mapping_codec(_codec_of(arguments[1]))
    raise TypeError(f"no JSON form for {kind}")


def _class_codec(kind: type[Any]) -> _Codec:
    if kind in _SCALARS:
        return _SCALARS[kind]
    return _enum_codec(kind) if issubclass(kind, Enum) else _object_codec(kind)


def _optional_codec(inner: _Codec) -> _Codec:
    return _Codec(
        lambda value: None if value is None else inner.write(value),
        lambda data: None if data is None else inner.read(data),
    )


def _sequence_codec(item: _Codec) -> _Codec:
    return _Codec(
        lambda values: list(map(item.write, values)),
        lambda data: tuple(list_of(item.read, data)),
    )


def _set_codec(item: _Codec) -> _Codec:
    def read(data: Any) -> frozenset[Any]:
        found = list_of(item.read, data)
        if len(found) != len(set(found)):
            raise InvalidJson("", expected="each entry once", found="one of them again")
        return frozenset(found)

    return _Codec(lambda values: sorted(map(item.write, values)), read)


def _tuple_codec(items: tuple[_Codec, ...]) -> _Codec:
    def read(data: Any) -> tuple[Any, ...]:
        values = array(data)
        if len(values) != len(items):
            expected, found = f"a list of {len(items)}", f"one of {len(values)}"
            raise InvalidJson("", expected=expected, found=found)
        return tuple(_read_at(index, item, values[index]) for index, item in enumerate(items))

    return _Codec(
        lambda values: [item.write(value) for item, value in zip(items, values, strict=True)], read
    )


def _mapping_codec(item: _Codec) -> _Codec:
    def read(data: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for spelled, value in table(data).items():
            name = _read_at(spelled, _TEXT, spelled)
            if name in found:
                expected = "only one spelling of each key"
                raise InvalidJson("", expected=expected, found="another").inside(spelled)
            found[name] = _read_at(spelled, item, value)
        return found

    return _Codec(
        lambda values: {_TEXT.write(name): item.write(value) for name, value in values.items()},
        read,
    )


def _union_codec(kinds: tuple[type, ...]) -> _Codec:
    codecs = {tag_of(kind): _codec_of(kind) for kind in kinds}
    tags = {kind: tag_of(kind) for kind in kinds}

    def write(value: Any) -> dict[str, Any]:
        tag = tags[type(value)]
        return {TAG: tag, **codecs[tag].write(value)}

    def read(data: Any) -> Any:
        found = dict(table(data))
        tag = found.pop(TAG, None)
        if not isinstance(tag, str) or tag not in codecs:
            raise InvalidJson(f".{TAG}", expected=f"one of {', '.join(codecs)}", found=_shown(tag))
        return codecs[tag].read(found)

    return _Codec(write, read)


def _object_codec(kind: type) -> _Codec:
    codecs = {name: _codec_of(hint) for name, hint in _fields(kind)}
    # A key that came later has a default, so that older files can be read.
    needed = frozenset(field.name for field in dataclasses.fields(kind) if is_needed(field))

    writers = [(name, codec.write) for name, codec in codecs.items()]

    def write(value: Any) -> dict[str, Any]:
        return {name: write_one(getattr(value, name)) for name, write_one in writers}

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
            raise _refused(error, expected=expected) from error

    return _Codec(write, read)


def _read_at(step: str | int, codec: _Codec, data: Any) -> Any:
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
