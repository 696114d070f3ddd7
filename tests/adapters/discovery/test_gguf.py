"""Values of the header of a file that may be anything."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro_gate.adapters.discovery.gguf import read_header
from repro_gate.errors import InputInvalid
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES

_KEYS = ("general.architecture", "general.name", ".context_length", "tokenizer.chat_template")
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _header(*entries: bytes, version: int = 3, count: int | None = None) -> bytes:
    number = len(entries) if count is None else count
    return b"GGUF" + struct.pack("<IQQ", version, 0, number) + b"".join(entries)


_NAME = _text("general.name") + struct.pack("<I", 8) + _text("a model")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a whole model."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    make(RECIPES["tiny-qwen2"], path)
    return path


def test_the_wanted_values_of_a_model_are_read(tiny: Path) -> None:
    """Those behind its vocabulary too."""
    found = dict(read_header(tiny, _KEYS))

    assert str(found.pop("tokenizer.chat_template")).startswith("{% for message")
    assert found == {
        "general.architecture": "qwen2",
        "general.name": "tiny-qwen2",
        ".context_length": 4096,
    }


@pytest.mark.parametrize("share", [0.0001, 0.001, 0.01])
def test_a_truncated_header_is_refused(tiny: Path, tmp_path: Path, share: float) -> None:
    """Wherever it ends."""
    data = tiny.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: int(len(data) * share)])

    with pytest.raises(InputInvalid, match=r"cut\.gguf: expected a GGUF file"):
        read_header(cut, ("no.such.key",))


@pytest.mark.parametrize("kind", _SCALARS)
def test_values_of_every_type_are_passed_over(tmp_path: Path, kind: int) -> None:
    """Alone and in lists."""
    form = f"<{_SCALARS[kind]}"
    alone = _text("a") + struct.pack("<I", kind) + struct.pack(form, 1)
    several = _text("b") + struct.pack("<IIQ", 9, kind, 2) + struct.pack(form, 1) * 2
    texts = _text("c") + struct.pack("<IIQ", 9, 8, 2) + _text("x") * 2
    file = tmp_path / "a.gguf"
    file.write_bytes(_header(alone, several, texts, _NAME))

    assert read_header(file, ("general.name", "b")) == {"general.name": "a model"}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "the end of the file"),
        (b"PK\x03\x04", "does not start with GGUF"),
        (_header(version=1), "version 1"),
        (_header(count=1 << 40), "entries in the header"),
        (_header(_text("a") + struct.pack("<I", 99)), "the unknown type 99"),
        (_header(_text("a") + struct.pack("<IIQ", 9, 9, 1)), "a list of 1 values of type 9"),
        (_header(_text("a") + struct.pack("<IIQ", 9, 8, 1 << 60)), "values of type 8"),
        (_header(_text("a") + struct.pack("<IIQ", 9, 0, 1 << 62)), "a header of more than"),
        (_header(_text("a") + struct.pack("<IQ", 8, 1 << 62)), "a header of more than"),
        (_header(struct.pack("<Q", 1 << 20)), "a text of 1048576 bytes"),
    ],
)
def test_a_broken_header_is_refused(tmp_path: Path, data: bytes, found: str) -> None:
    """With what was found, in no time."""
    file = tmp_path / "a.gguf"
    file.write_bytes(data)

    with pytest.raises(InputInvalid, match=found):
        read_header(file, ("general.name",))


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_header_or_refused(tmp_path: Path, data: bytes) -> None:
    """And nothing else is raised."""
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 3) + data)

    with suppress(InputInvalid):
        read_header(file, _KEYS)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """Only regular files are opened."""
    with pytest.raises(InputInvalid, match="found a folder"):
        read_header(tmp_path, _KEYS)
