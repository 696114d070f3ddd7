"""Sources of models in the matrix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.models.hub import HubFile, hub_file_of
from repro_gate.adapters.models.packages import PACKAGE_FORM
from repro_gate.adapters.models.sources import required_form
from repro_gate.core.engines import BUILT_IN_MODELS


@pytest.mark.parametrize(
    "source",
    [
        "builtin:tiny-qwen2",
        "hf:owner/repo/model.gguf",
        "hf:owner/repo@main/folder/model.gguf",
        "models/model.gguf",
        "../model.gguf",
        "/srv/models/model.gguf",
        "./odd:name.gguf",
        "./~/model.gguf",
        "C:/model.gguf",
        "whole-00001-of-00001.gguf",
        "m-00001-of-00000.gguf",
        "m-00001-of-00003.gguf",
        "hf:owner/repo/m-00001-of-00003.gguf",
        "package:name==1/m-00001-of-00003.gguf",
        "package:p{1..3}==1/m-0000{1..3}-of-00003.gguf",
    ],
)
def test_valid_sources_are_accepted(source: str) -> None:
    """Paths, files of a hub and built-in models."""
    assert required_form(source) is None


_PATH = "a path relative to this file, or an absolute one"
_HUB = "hf:OWNER/REPO[@REVISION]/FILE"
_PACKAGE = "package:NAME==VERSION/PATH"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("builtin:nope", f"one of {', '.join(f'builtin:{name}' for name in BUILT_IN_MODELS)}"),
        ("hf:foo", _HUB),
        ("HF:owner/repo/model.gguf", "hf: in lower case"),
        (
            "https://huggingface.co/owner/repo/resolve/main/a/model.gguf?download=true",
            "hf:owner/repo@main/a/model.gguf",
        ),
        (
            "https://example.org/model.gguf",
            f"a file that is downloaded before the check: {_HUB}, or {_PATH}",
        ),
        (
            "ollama:llama3",
            (
                f"builtin:NAME, {_HUB}, {_PACKAGE}, or {_PATH}; a file whose name has a colon is "
                "./ollama:llama3"
            ),
        ),
        ("package:name/file.gguf", PACKAGE_FORM),
        ("package:name==1/../file.gguf", PACKAGE_FORM),
        ("Package:name==1/file.gguf", "package: in lower case"),
        ("a\x1b[2J", "a string without control characters"),
    ],
)
def test_an_invalid_source_comes_with_a_valid_one(source: str, expected: str) -> None:
    """A URL of the hub becomes the source of the same file."""
    assert required_form(source) == expected


@pytest.mark.parametrize("source", ["$HOME/model.gguf", "${MODELS}/model.gguf", "~someone/m.gguf"])
def test_tilde_and_variables_are_refused(source: str) -> None:
    """The matrix must mean the same for every user."""
    assert "are not expanded" in (required_form(source) or "")


@pytest.mark.parametrize(
    ("source", "first"),
    [
        ("a/m-00002-of-00003.gguf", "a/m-00001-of-00003.gguf"),
        ("m-00000-of-00003.gguf", "m-00001-of-00003.gguf"),
        ("m-00004-of-00003.gguf", "m-00001-of-00003.gguf"),
        ("hf:o/r/m-00003-of-00003.gguf", "hf:o/r/m-00001-of-00003.gguf"),
        ("package:p==1/m-00002-of-00003.gguf", "package:p==1/m-00001-of-00003.gguf"),
    ],
)
def test_another_part_than_the_first_is_refused(source: str, first: str) -> None:
    """The message has the first one."""
    assert required_form(source) == f"{first}: the first part stands for all of them"


def test_a_model_of_too_many_parts_is_refused() -> None:
    """A message to an engine names each of them."""
    assert required_form("m-00001-of-01000.gguf") is None
    assert required_form("m-00001-of-01001.gguf") == "a model of at most 1000 parts"


@given(source=st.text(st.sampled_from("hf:/@.~$\\aA0- "), max_size=12) | st.text(max_size=12))
def test_a_source_is_accepted_or_refused_with_a_reason(source: str) -> None:
    """A valid `hf:` source names a file, whatever the text."""
    form = required_form(source)
    if form is None and source.startswith("hf:"):
        assert isinstance(hub_file_of(source), HubFile)
    assert form != ""
