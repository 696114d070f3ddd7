"""Values are written as plain JSON data and read back to the last bit; anything else is refused."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, Literal, TypeAlias

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from repro_gate.adapters.files.codec import decode, encode
from repro_gate.core.engines import Setting
from repro_gate.core.logprobs.verdicts import LogprobVerdict
from repro_gate.core.report import CheckResult
from repro_gate.core.shards.report import MeasuredCell, PlanIdentity, Shard, ShardReport
from repro_gate.core.tokens.cell import Factor
from repro_gate.core.tokens.controls import Control
from repro_gate.core.tokens.judge import Repetition
from repro_gate.core.tokens.verdicts import Inconclusive, Match, Unrecorded, Verdict
from repro_gate.strict_json import InvalidJson
from tests.fakes.reports import TIMING, report_of, shard_report_of
from tests.fakes.strategies import cells, finite, traced_generations
from tests.fakes.values import contrast_of
from tests.reports.random_reports import HOSTILE, few


class Colour(StrEnum):
    """A list of words."""

    RED = "red"
    NOT_RED = "not red"


class Size(IntEnum):
    """A list of numbers."""

    ONE = 1
    TWO = 2


@dataclass(frozen=True, slots=True)
class Circle:
    """One of two shapes, which has a word of its own."""

    word: ClassVar[str] = "round"

    radius: float


@dataclass(frozen=True, slots=True)
class BigSquare:
    """One of two shapes, which goes by its name."""

    side: int

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"a side is at least 1, got {self.side}")


Shape: TypeAlias = Circle | BigSquare


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """A field of each kind."""

    fixed: Literal["v1"]
    flag: bool
    count: int
    number: float
    text: str
    data: bytes
    colour: Colour
    size: Size
    shape: Shape
    pair: tuple[int, float]
    shapes: tuple[Shape, ...]
    colours: frozenset[Colour]
    facts: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, Setting]
    maybe: Circle | None
    later: str = ""


VALUE = Everything(
    fixed="v1",
    flag=True,
    count=3,
    number=-0.5,
    text='a\n"b" \\ \ud800 \N{RIGHT-TO-LEFT OVERRIDE} \N{SNOWMAN}',
    data=b"a\x00\xff \xe2\x98\x83",
    colour=Colour.NOT_RED,
    size=Size.TWO,
    shape=BigSquare(2),
    pair=(1, 0.5),
    shapes=(Circle(1.0), BigSquare(1)),
    colours=frozenset(Colour),
    facts={"a\x1b": ("b",), "": ()},
    settings={"a": True, "b": 1, "c": 1.0, "d": "1", "e": 10**40, "f": [1, 0.5, "x"]},
    maybe=None,
)
DATA: dict[str, Any] = {
    "fixed": "v1",
    "flag": True,
    "count": 3,
    "number": -0.5,
    "text": 'a\\n"b" \\\\ \\xed\\xa0\\x80 \\xe2\\x80\\xae \N{SNOWMAN}',
    "data": "a\\x00\\xff \N{SNOWMAN}",
    "colour": "not red",
    "size": 2,
    "shape": {"kind": "big_square", "side": 2},
    "pair": [1, 0.5],
    "shapes": [{"kind": "round", "radius": 1.0}, {"kind": "big_square", "side": 1}],
    "colours": ["not red", "red"],
    "facts": {"a\\x1b": ["b"], "": []},
    "settings": {"a": True, "b": 1, "c": 1.0, "d": "1", "e": 10**40, "f": [1, 0.5, "x"]},
    "maybe": None,
    "later": "",
}


def through_json(value: object, kind: Any) -> Any:
    """Return what is read after writing a value."""
    text = json.dumps(encode(value, kind), allow_nan=False)
    return decode(json.loads(text), kind)


def refusal_of(data: object, kind: Any = Everything) -> str:
    """Return the place and the message of the error for data."""
    with pytest.raises(InvalidJson) as caught:
        decode(data, kind)
    return str(caught.value)


def test_a_value_is_plain_data() -> None:
    """Each type of field has one form."""
    assert encode(VALUE, Everything) == DATA
    assert json.loads(json.dumps(DATA)) == DATA


def test_a_value_is_read_back() -> None:
    """Settings keep their types, which equality cannot tell apart."""
    found = through_json(VALUE, Everything)

    assert found == VALUE
    assert list(map(type, found.settings.values())) == [bool, int, float, str, int, list]
    assert [type(found.colour), type(found.size)] == [Colour, Size]


def test_what_has_a_default_may_be_absent() -> None:
    """Files of older versions lack keys that were added later."""
    older = {key: value for key, value in DATA.items() if key != "later"}

    assert decode(older, Everything) == VALUE


@examples(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE.results)
def test_any_result_is_read_back(result: CheckResult) -> None:
    """Whatever text is in it, lone surrogates included."""
    assert through_json(result, CheckResult) == result


_generations = traced_generations(finite)
_problems = st.none() | st.builds(
    Inconclusive, reason=HOSTILE.texts.filter(bool), remedy=st.none() | HOSTILE.texts
)
_measured = st.builds(
    MeasuredCell,
    cell=cells,
    repetition=st.builds(Repetition, first=_generations, runs=st.integers(1, 9)),
    provenance=st.integers(0, 9),
    problem=_problems,
) | st.builds(
    MeasuredCell, cell=cells, repetition=st.none(), provenance=st.none(), problem=_problems
)
_controls = st.builds(
    Control,
    contrast=st.builds(contrast_of, cells, st.sampled_from(Factor)),
    reference=st.none() | _generations,
    generation=st.none() | _generations,
    problem=st.none()
    | st.builds(Inconclusive, reason=HOSTILE.texts.filter(bool), remedy=st.none()),
)
_identities = st.builds(
    PlanIdentity,
    digest=HOSTILE.texts,
    commit=st.none() | HOSTILE.texts,
    suites=few(HOSTILE.texts),
    only=st.none() | HOSTILE.texts,
    runs=st.none() | st.integers(1, 99),
    options=few(HOSTILE.texts),
)


@examples(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        ShardReport,
        tool_version=HOSTILE.texts,
        started_at=HOSTILE.texts,
        shard=st.just(Shard(1, 2)),
        identity=_identities,
        cells=few(_measured),
        engines=st.just(shard_report_of().engines),
        models=st.dictionaries(HOSTILE.texts, st.dictionaries(HOSTILE.texts, HOSTILE.texts)),
        controls=few(_controls),
        logprobs=few(HOSTILE.logprobs, most=1),
        timing=st.just(TIMING),
        interrupted=st.booleans(),
        notes=few(HOSTILE.notes),
    )
)
def test_any_shard_is_read_back(report: ShardReport) -> None:
    """Whatever it measured."""
    assert through_json(report, ShardReport) == report


@given(st.floats())
def test_a_number_is_read_back_to_the_last_bit(number: float) -> None:
    """Including the sign of zero, infinities and NaN."""
    found = through_json(Circle(number), Circle).radius

    assert type(found) is float
    assert found.hex() == number.hex()


@given(st.binary())
def test_bytes_are_read_back(data: bytes) -> None:
    """Whether they are text or not."""
    assert through_json(data, bytes) == data


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cs", "Cc"])))
def test_a_text_is_read_back(text: str) -> None:
    """The data is printable and has no lone surrogate."""
    data = encode(text, str)

    assert data.isprintable()
    assert data.encode("utf-8").decode("utf-8") == data
    assert through_json(text, str) == text


def test_an_integer_is_read_as_a_float() -> None:
    """Other tools write 1.0 as 1, and ours reads it as 1.0 again."""
    found = decode({"radius": 1}, Circle)

    assert found == Circle(1.0)
    assert type(found.radius) is float
    assert type(encode(Circle(1), Circle)["radius"]) is float


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_setting_that_is_not_finite_is_not_written(number: float) -> None:
    """Its word would be read back as a text."""
    with pytest.raises(ValueError, match="a setting must be finite"):
        encode(number, Setting)


def test_members_of_a_union_are_told_apart_by_kind() -> None:
    """Two unions share some of their members."""
    verdict = Unrecorded(reason="x")

    data = {"kind": "unrecorded", "reason": "x", "former": None}
    assert encode(verdict, Verdict) == encode(verdict, LogprobVerdict) == data
    assert decode(data, Verdict) == decode(data, LogprobVerdict) == verdict
    assert encode(Match(), Verdict) == {"kind": "match"}
    assert refusal_of({"kind": "match"}, LogprobVerdict) == (
        "kind: expected one of agrees, drift, outlier, invalid, unrecorded, inconclusive, "
        "found 'match'"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixed": "v2"}, "fixed: expected 'v1', found 'v2'"),
        ({"flag": 1}, "flag: expected true or false, found 1"),
        ({"flag": None}, "flag: expected true or false, found nothing"),
        ({"count": True}, "count: expected an integer, found true"),
        ({"count": 3.0}, "count: expected an integer, found 3.0"),
        ({"count": "3"}, "count: expected an integer, found a string"),
        (
            {"count": 2**63},
            "count: expected a 64-bit integer, found 9223372036854775808",
        ),
        ({"number": "0.5"}, "number: expected a finite number, found a string"),
        ({"number": "Infinity"}, "number: expected a finite number, found a string"),
        ({"number": True}, "number: expected a finite number, found true"),
        ({"number": math.inf}, "number: expected a finite number, found inf"),
        ({"number": math.nan}, "number: expected a finite number, found nan"),
        ({"number": []}, "number: expected a finite number, found an empty list"),
        ({"text": 1}, "text: expected a string, found 1"),
        ({"text": {}}, "text: expected a string, found an object"),
        (
            {"text": "\\q"},
            r"text: expected an escaped string, found a backslash that starts no escape in '\\\\q'",
        ),
        ({"data": 1}, "data: expected a string, found 1"),
        (
            {"data": "\\q"},
            r"data: expected escaped bytes, found a backslash that starts no escape in '\\\\q'",
        ),
        ({"colour": "RED"}, "colour: expected one of red, not red, found 'RED'"),
        ({"colours": ["RED"]}, "colours[0]: expected one of red, not red, found 'RED'"),
        ({"colours": ["red", "red"]}, "colours: expected each entry once, found one of them again"),
        ({"size": 3}, "size: expected one of 1, 2, found 3"),
        ({"size": True}, "size: expected one of 1, 2, found true"),
        ({"shape": []}, "shape: expected an object, found an empty list"),
        ({"shape": {}}, "shape.kind: expected one of round, big_square, found nothing"),
        (
            {"shape": {"kind": []}},
            "shape.kind: expected one of round, big_square, found an empty list",
        ),
        ({"shape": {"kind": "round"}}, "shape: expected the key 'radius', found none"),
        (
            {"shape": {"kind": "round", "radius": 1, "side": 1}},
            "shape: expected only the keys radius, found the unknown key 'side'",
        ),
        (
            {"shape": {"kind": "big_square", "side": 0}},
            "shape: expected a consistent big square, found a side is at least 1, got 0",
        ),
        ({"pair": [1]}, "pair: expected a list of 2, found one of 1"),
        ({"pair": [1, "x"]}, "pair[1]: expected a finite number, found a string"),
        ({"pair": "ab"}, "pair: expected a list, found a string"),
        ({"shapes": {}}, "shapes: expected a list, found an object"),
        (
            {"shapes": [{"kind": "round", "radius": 1}, {"kind": "round", "radius": "x"}]},
            "shapes[1].radius: expected a finite number, found a string",
        ),
        ({"facts": []}, "facts: expected an object, found an empty list"),
        ({"facts": {"a.b": ["x", 1]}}, "facts.a.b[1]: expected a string, found 1"),
        ({"settings": {"a": None}}, "settings.a: expected a setting, found nothing"),
        ({"settings": {"a": [1, None]}}, "settings.a[1]: expected a setting, found nothing"),
        ({"settings": {"a": [[1]]}}, "settings.a[0]: expected a setting, found a list"),
        ({"settings": {"a": math.inf}}, "settings.a: expected a setting, found inf"),
        ({"maybe": 1}, "maybe: expected an object, found 1"),
        ({"more": 1}, "expected only the keys {keys}, found the unknown key 'more'"),
    ],
)
def test_invalid_data_is_refused(changes: dict[str, Any], message: str) -> None:
    """The error has the place, what was expected and what was found."""
    assert refusal_of(DATA | changes) == message.format(keys=", ".join(DATA))


def test_a_missing_key_is_named() -> None:
    """The first of several."""
    assert refusal_of({}) == "expected the key 'fixed', found none"


def test_two_spellings_of_one_key_are_refused() -> None:
    """One of the two values would be lost."""
    message = "facts.\\\\x61: expected only one spelling of each key, found another"

    assert refusal_of(DATA | {"facts": {"a": [], "\\x61": []}}) == message


def test_the_message_is_short() -> None:
    """However long the value and its place are."""
    message = refusal_of(DATA | {"facts": {"k" * 10**6: "v" * 10**6}})

    assert len(message) < 500


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["kind", "report", "cells", "x"]), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_arbitrary_data_is_refused(data: object) -> None:
    """No data crashes the reader."""
    with pytest.raises(InvalidJson):
        decode(data, CheckResult)


def test_reading_stops_at_the_first_error() -> None:
    """A file of a million errors takes no longer than one of a few."""
    data = encode(report_of(), type(report_of()))

    message = refusal_of(data | {"cells": [None] * 10**6}, type(report_of()))

    assert message == "cells[0]: expected an object, found nothing"
