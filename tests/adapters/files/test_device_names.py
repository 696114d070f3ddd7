"""What a device is called: one rule for the command line, the matrix file and the engines."""

import json
import re
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.protocol import DeviceRequest, requested_device

_NEAR = st.from_regex(r"(cpu|cuda)?(:?[0-9 ]{0,4})?\n?", fullmatch=True)


def _pattern(schema: str, *steps: str) -> re.Pattern[str]:
    value: Any = json.loads((files("repro_gate.schemas") / f"{schema}.json").read_text("utf-8"))
    for step in steps:
        value = value[step]
    return re.compile(str(value["pattern"]))


_PATTERNS = [
    _pattern("matrix-v1", "$defs", "engine", "properties", "device"),
    _pattern("engine-v1", "$defs", "device"),
]


@given(name=_NEAR | st.text(max_size=8))
def test_the_schemas_allow_what_the_command_line_and_the_engine_do(name: str) -> None:
    """A name is allowed by all of them or by none."""
    is_allowed = requested_device(name) is not None

    assert [bool(pattern.search(name)) for pattern in _PATTERNS] == [is_allowed] * 2


@pytest.mark.parametrize(
    ("name", "index"), [("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:7", 7), ("cuda:99", 99)]
)
def test_a_device_has_an_index(name: str, index: int | None) -> None:
    """The first GPU is meant where none is named."""
    assert requested_device(name) == DeviceRequest(name, index)


@pytest.mark.parametrize(
    "name", ["cuda:100", "cuda:00", "cuda:01", "cuda:", "cuda:-1", "CUDA", "cpu:0", "cpu\n", ""]
)
def test_other_names_are_none(name: str) -> None:
    """Two names of one GPU would put two engines on it."""
    assert requested_device(name) is None
