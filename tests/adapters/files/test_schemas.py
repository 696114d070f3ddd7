"""The published schemas, and device names, which several of them share."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from repro_gate.adapters.files.snapshots import GoldenFiles
from repro_gate.protocol import DeviceRequest, requested_device

ROOT = Path(__file__).parents[3]
SCHEMAS = sorted(
    file.name for file in files("repro_gate.schemas").iterdir() if file.name.endswith(".json")
)


def schema_of(name: str) -> dict[str, Any]:
    """Return a published schema."""
    text = files("repro_gate.schemas").joinpath(name).read_text("utf-8")
    return dict(json.loads(text))


def test_there_is_a_schema_for_each_kind_of_file_and_for_the_protocol() -> None:
    """Nothing is read or exchanged that has no published schema."""
    assert {"engine-v1.json", "golden-v1.json", "matrix-v1.json", "models-v1.json"} <= set(SCHEMAS)
    assert {"baseline-v1.json", "draws-v1.json", "report-v1.json"} <= set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid(name: str) -> None:
    """Each is a JSON Schema of draft 2020-12."""
    schema = schema_of(name)

    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_says_its_own_name(name: str) -> None:
    """The `$id` tells the kind and the version, as the file name does."""
    kind, version = name.removesuffix(".json").split("-")

    assert schema_of(name)["$id"] == f"urn:repro-gate:{kind}:{version}"


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_pattern_lets_a_last_newline_through(name: str) -> None:
    """Python and ECMAScript disagree on `$`, so every pattern forbids a newline after it."""
    text = files("repro_gate.schemas").joinpath(name).read_text("utf-8")
    ends = [part for part in text.split('"pattern": "')[1:] if '$"' in part.split("\n")[0]]

    assert ends == []


def test_the_committed_goldens_are_readable() -> None:
    """Every golden in this repository is one, and lies where it belongs."""
    goldens = GoldenFiles(ROOT / "snapshots" / "goldens")
    read = [
        goldens.read(profile, cell_id)
        for profile in goldens.profiles()
        for cell_id in goldens.recorded(profile)
    ]

    assert len(read) >= 30


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
