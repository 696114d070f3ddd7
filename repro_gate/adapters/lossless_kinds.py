"""What kind of type it is: how a value of it is written follows from that alone."""

import dataclasses
import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin


def tag_of(kind: type) -> str:
    """Return the word for a type among those of a union: its own, or its name."""
    word = getattr(kind, "word", None)
    return word if isinstance(word, str) else snake(kind)


def snake(kind: type) -> str:
    """Return the name of a type as JSON writes names."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


def members(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union; none when it is something else."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else ()


def is_tagged(kind: Any) -> bool:
    """Tell whether it is a union of which every value says its own kind."""
    return bool(members(kind)) and all(map(dataclasses.is_dataclass, members(kind)))


def is_setting(kind: Any) -> bool:
    """Tell whether it is a union of plain values, such as a setting of an engine."""
    return bool(members(kind)) and set(members(kind)) <= {bool, int, float, str}


def is_optional(kind: Any) -> bool:
    """Tell whether None is among the values of a union."""
    return NoneType in members(kind)


def without_none(kind: Any) -> Any:
    """Return an optional type as what it is where it is given."""
    given = tuple(member for member in members(kind) if member is not NoneType)
    return Union[given]  # noqa: UP007 -- of a list that is known here alone


def is_literal(kind: Any) -> bool:
    """Tell whether it is a list of values."""
    return get_origin(kind) is Literal


def is_sequence(kind: Any) -> bool:
    """Tell whether it is a tuple of any length."""
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


def is_tuple(kind: Any) -> bool:
    """Tell whether it is a tuple whose places have types of their own."""
    return get_origin(kind) is tuple and not is_sequence(kind)


def is_mapping(kind: Any) -> bool:
    """Tell whether it is a mapping; its keys are texts."""
    return get_origin(kind) in (dict, Mapping)
