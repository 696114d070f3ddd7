"""Reading and the schemas accept the same files, though reading does not use the schemas."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from repro_gate.adapters.files.codec import decode
from repro_gate.adapters.files.documents import validate
from repro_gate.adapters.files.results import report_text, write_shard
from repro_gate.core.report import CheckResult, UnfinishedCheck, result_of
from repro_gate.errors import InputInvalid
from repro_gate.reports.json import summary_data
from repro_gate.strict_json import InvalidJson
from tests.fakes.changed_data import changed
from tests.fakes.reports import report_of, shard_report_of
from tests.reports.random_reports import HOSTILE
from tests.schemas.generate import LAYOUTS

_READ = {"schema", "tool", "result"}


def data_of(result: CheckResult) -> Any:
    """Return the content of the report.json of a result."""
    return json.loads(report_text(result, summary_data(result)))


def read_data_of(result: CheckResult) -> Any:
    """Return the part of it that is read back."""
    return {key: value for key, value in data_of(result).items() if key in _READ}


def is_allowed(name: str, data: Any) -> bool:
    """Return whether the schema of a kind of file allows data."""
    try:
        validate(data, schema=f"{name}-v1", file=Path("x"))
    except InputInvalid:
        return False
    return True


def refusal_of(name: str, data: Any) -> InvalidJson | None:
    """Return why reading refuses data, or None."""
    try:
        decode(data, LAYOUTS[name])
    except InvalidJson as error:
        return error
    return None


_UNFINISHED = UnfinishedCheck(exit_code=3, message="x", remedy=None)
_FINISHED = result_of(report_of(), observed={report_of().cells[0].id: "ab" * 32})


def _shard(folder: Path) -> Any:
    write_shard(folder, shard_report_of())
    return json.loads((folder / "shard.json").read_text("ascii"))


@pytest.mark.parametrize("result", [_FINISHED, _UNFINISHED], ids=["finished", "unfinished"])
def test_a_report_is_allowed(result: CheckResult) -> None:
    """With every verdict and everything derived from it."""
    assert is_allowed("report", data_of(result))
    assert refusal_of("report", read_data_of(result)) is None


def test_a_shard_is_allowed(tmp_path: Path) -> None:
    """With a cell of each kind."""
    data = _shard(tmp_path)

    assert is_allowed("shard", data)
    assert refusal_of("shard", data) is None


@examples(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE.results)
def test_any_report_is_allowed(result: CheckResult) -> None:
    """Whatever text is in it, and as ASCII."""
    assert report_text(result, summary_data(result)).isascii()
    assert is_allowed("report", data_of(result))


_BEYOND_A_SCHEMA = ("a consistent ", "an escaped string", "escaped bytes", "only one spelling ")
"""Refused by the values themselves, or never written by `escape_text`."""


@pytest.mark.parametrize("name", ["finished", "unfinished", "shard"])
@examples(
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(drawing=st.data())
def test_reading_refuses_what_a_schema_refuses(
    name: str, drawing: st.DataObject, tmp_path: Path
) -> None:
    """And the other way round, whatever was changed in a file."""
    schema = "shard" if name == "shard" else "report"
    data = (
        _shard(tmp_path)
        if name == "shard"
        else read_data_of(_FINISHED if name == "finished" else _UNFINISHED)
    )
    content = drawing.draw(changed(data))
    is_widened = isinstance(content, dict) and not content.keys() <= _READ | {"shard"}

    refused = refusal_of(schema, content)
    if schema == "report" and is_widened:
        # Keys beside those that are read are ignored.
        return
    if refused is None or not refused.expected.startswith(_BEYOND_A_SCHEMA):
        assert is_allowed(schema, content) == (refused is None), refused


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("outcome", "fine"),
        ("exit_code", "10"),
        ("counts", {"tokens": {}}),
        ("findings", [{"verdict": "drift"}]),
        ("schema", "repro-gate/report/v2"),
        ("tool", {"name": "another", "version": "1"}),
    ],
)
def test_a_wrong_top_level_breaks_the_schema(key: str, wrong: Any) -> None:
    """The schema covers the derived keys too."""
    assert not is_allowed("report", data_of(_FINISHED) | {key: wrong})
