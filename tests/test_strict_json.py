"""The strict readers of JSON values."""

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate import strict_json
from repro_gate.strict_json import MAX_INTEGER, InvalidJson

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


def _is_integer(value: Any) -> bool:
    return type(value) is int and abs(value) <= MAX_INTEGER


def _is_finite(value: Any) -> bool:
    return type(value) in (float, int) and abs(value) <= sys.float_info.max


def _has_utf8(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value)


READERS: dict[Callable[..., object], Callable[[Any], bool]] = {
    strict_json.integer: _is_integer,
    strict_json.number: _is_finite,
    strict_json.boolean: lambda value: isinstance(value, bool),
    strict_json.string: lambda value: isinstance(value, str),
    strict_json.text: _has_utf8,
    strict_json.array: lambda value: isinstance(value, list),
    strict_json.table: lambda value: isinstance(value, dict),
}


@pytest.mark.parametrize("read", READERS)
@given(value=VALUES)
def test_a_reader_takes_its_own_type_alone(read: Callable[..., object], value: Any) -> None:
    """Every other value is an error that names its place."""
    if READERS[read](value):
        assert read(value, "here") == value
    else:
        with pytest.raises(InvalidJson, match=r"\Ahere: expected .+, found .+\Z"):
            read(value, "here")


@given(value=VALUES)
def test_a_message_is_one_line_without_the_text_of_a_string(value: Any) -> None:
    """What a stranger wrote cannot write to a terminal, nor a secret to a log."""
    kind = strict_json.kind_of(value)

    assert kind.isascii()
    assert kind.isprintable()
    assert len(kind) < 60
    assert kind == (strict_json.kind_of("") if isinstance(value, str) else kind)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [1], 0, 11, 2**64])
def test_an_integer_is_within_its_bounds(value: object) -> None:
    """The bounds are part of the message."""
    with pytest.raises(InvalidJson, match=r"seed: expected an integer from 1 to 10, found "):
        strict_json.integer(value, "seed", low=1, high=10)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, 1e300, -0.1, True])
def test_a_number_is_finite_and_within_its_bounds(value: object) -> None:
    """An integer that no float can hold is not finite either."""
    with pytest.raises(InvalidJson, match="a finite number from 0 to"):
        strict_json.number(value, low=0, high=1000.0)


@pytest.mark.parametrize("value", ["\ud800", "a\udfffb"])
def test_a_text_has_no_lone_surrogate(value: str) -> None:
    """It could not be written to any file."""
    assert strict_json.string(value) == value
    with pytest.raises(InvalidJson, match=r"\Aname: expected a string, found a lone surrogate"):
        strict_json.text(value, "name")


def test_an_integer_is_a_number() -> None:
    """Other tools write 1.0 as 1."""
    read = strict_json.number(1)

    assert (read, type(read)) == (1.0, float)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, "an integer"),
        ({"low": 1}, "an integer of at least 1"),
        ({"high": 9}, "an integer of at most 9"),
        ({"low": 1, "high": 9}, "an integer from 1 to 9"),
    ],
)
def test_a_message_names_the_bounds_that_were_set(bounds: Any, expected: str) -> None:
    """The limits of the type itself are left out."""
    with pytest.raises(InvalidJson) as caught:
        strict_json.integer(None, **bounds)

    assert caught.value.expected == expected


@pytest.mark.parametrize(("value", "found"), [("c", "another string"), (1, "1"), (["a"], "a list")])
def test_a_choice_is_one_of_the_strings(value: object, found: str) -> None:
    """The message lists them."""
    assert strict_json.choice("a", "mode", ("a", "b")) == "a"
    with pytest.raises(InvalidJson) as caught:
        strict_json.choice(value, "mode", ("a", "b"))

    assert str(caught.value) == f"mode: expected one of a, b, found {found}"


@given(items=st.lists(st.integers(0, 9)), bad=st.text() | st.booleans() | st.floats())
def test_an_invalid_item_of_a_list_is_named_by_its_index(items: list[int], bad: object) -> None:
    """Whatever comes after it."""
    assert strict_json.list_of(strict_json.integer, items) == items
    with pytest.raises(InvalidJson) as caught:
        strict_json.list_of(strict_json.integer, [*items, bad, None], "ids")

    assert caught.value.place == f"ids[{len(items)}]"


def test_the_place_leads_through_lists_in_lists() -> None:
    """The outer index comes first."""

    def row(value: object) -> list[int]:
        return strict_json.list_of(strict_json.integer, value)

    with pytest.raises(InvalidJson, match=r"\Arows\[1\]\[2\]: expected an integer, found a string"):
        strict_json.list_of(row, [[], [1, 2, "x"]], "rows")
    with pytest.raises(InvalidJson, match=r"\Arows\[1\]: expected a list, found a string"):
        strict_json.list_of(row, [[], "x"], "rows")
    with pytest.raises(InvalidJson, match=r"\Arows: expected a list, found nothing"):
        strict_json.list_of(row, None, "rows")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "call: expected an object, found an empty list"),
        ({"a": 1}, "call: expected the key 'b', found none"),
        (
            {"a": 1, "b": 2, "\x1b[2J": 3},
            "call: expected only the keys a, b, c, found the unknown key '\\x1b[2J'",
        ),
        (
            {"b": 2, "a": 1, "c": 3, "z": 4, "y": 5},
            "call: expected only the keys a, b, c, found the unknown key 'y'",
        ),
    ],
)
def test_an_exact_table_has_its_keys_and_no_others(value: object, message: str) -> None:
    """Optional ones may be there."""
    for allowed in ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}):
        assert strict_json.exact_table(allowed, "call", keys=("a", "b"), optional=("c",)) is allowed
    with pytest.raises(InvalidJson) as caught:
        strict_json.exact_table(value, "call", keys=("a", "b"), optional=("c",))

    assert str(caught.value) == message


@given(value=VALUES, keys=st.lists(st.text(max_size=1), max_size=3))
def test_a_value_is_found_under_nested_keys_or_not_at_all(value: Any, keys: list[str]) -> None:
    """A list or a string on the way has no keys."""
    found = value
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None

    assert strict_json.value_at(value, *keys) is found
    assert strict_json.items_at(value, *keys) == (found if isinstance(found, list) else [])
    assert strict_json.value_at(json.loads('{"a": {"b": 1}}'), "a", "b") == 1
