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


def test_every_file_format_and_the_protocol_have_a_schema() -> None:
    """Nothing without a published schema is read or exchanged."""
    assert {"engine-v1.json", "golden-v1.json", "matrix-v1.json", "models-v1.json"} <= set(SCHEMAS)
    assert {"baseline-v1.json", "draws-v1.json", "report-v1.json"} <= set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid(name: str) -> None:
    """Each is a JSON Schema of draft 2020-12."""
    schema = schema_of(name)

    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_id_of_a_schema_has_its_name_and_version(name: str) -> None:
    """As its file name does."""
    kind, version = name.removesuffix(".json").split("-")

    assert schema_of(name)["$id"] == f"urn:repro-gate:{kind}:{version}"


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_pattern_allows_a_final_newline(name: str) -> None:
    """Python's `$` matches before one, ECMAScript's does not."""
    text = files("repro_gate.schemas").joinpath(name).read_text("utf-8")
    ends = [part for part in text.split('"pattern": "')[1:] if '$"' in part.split("\n")[0]]

    assert ends == []


def test_the_committed_goldens_are_valid() -> None:
    """And each is in the right folder."""
    goldens = GoldenFiles(ROOT / "snapshots" / "goldens")
    read = [
        goldens.read(profile, cell_id)
        for profile in goldens.profiles()
        for cell_id in goldens.recorded(profile)
    ]

    assert len(read) >= 30


_NEAR = st.from_regex(
    r"(cpu|cuda|rocm|metal|vulkan|webgpu|rpc|blas)?(:?[0-9 ]{0,4})?\n?", fullmatch=True
)


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
def test_schemas_command_line_and_engine_accept_the_same_devices(name: str) -> None:
    """A name is accepted by all or by none."""
    is_allowed = requested_device(name) is not None

    assert [bool(pattern.search(name)) for pattern in _PATTERNS] == [is_allowed] * 2


@pytest.mark.parametrize(
    ("name", "backend", "index"),
    [
        ("cpu", "cpu", 0),
        ("cuda", "cuda", 0),
        ("cuda:0", "cuda", 0),
        ("rocm:7", "rocm", 7),
        ("vulkan:99", "vulkan", 99),
    ],
)
def test_the_default_gpu_is_the_first(name: str, backend: str, index: int) -> None:
    """`cuda` is `cuda:0`."""
    assert requested_device(name) == DeviceRequest(name, backend, index)


@pytest.mark.parametrize(
    "name",
    [
        "cuda:100",
        "rpc",
        "blas",
        "mtl",
        "cuda:00",
        "cuda:01",
        "cuda:",
        "cuda:-1",
        "CUDA",
        "cpu:0",
        "cpu\n",
        "",
    ],
)
def test_other_device_names_are_refused(name: str) -> None:
    """Two names for one GPU would put two engines on it."""
    assert requested_device(name) is None
