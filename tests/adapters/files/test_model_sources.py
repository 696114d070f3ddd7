"""Where a model may come from: what can be no source is refused with what to write instead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.files.models import HubFile, hub_file_of, required_form
from repro_gate.core.engines import BUILT_IN_MODELS, EngineKind
from repro_gate.tiny_models.recipes import RECIPES


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
    ],
)
def test_a_file_a_hub_file_and_a_built_in_model_are_sources(source: str) -> None:
    """Also of another engine than the built-in one."""
    assert [required_form(source, kind) for kind in EngineKind] == [None, None]


_PATH = "a path relative to this file, or an absolute one"
_HUB = "hf:OWNER/REPO[@REVISION]/FILE"


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
            f"builtin:NAME, {_HUB}, or {_PATH}; a file whose name has a colon is ./ollama:llama3",
        ),
        ("a\x1b[2J", "a string without control characters"),
    ],
)
def test_what_is_no_source_comes_with_what_to_write(source: str, expected: str) -> None:
    """A URL of the hub becomes the source that names the same file."""
    assert required_form(source, EngineKind.LLAMA_CPP) == expected


@pytest.mark.parametrize("source", ["$HOME/model.gguf", "${MODELS}/model.gguf", "~someone/m.gguf"])
def test_nothing_is_expanded(source: str) -> None:
    """What a matrix means must not depend on who reads it."""
    assert "are not expanded" in (required_form(source, EngineKind.COMMAND) or "")


@pytest.mark.parametrize("source", ["m-00001-of-00003.gguf", "hf:o/r/m-00002-of-00003.gguf"])
def test_a_part_of_a_split_model_is_merged_first(source: str) -> None:
    """The built-in engine takes one file; what others take is their own affair."""
    expected = "one file; merge the parts of a split model with llama-gguf-split --merge"

    assert required_form(source, EngineKind.LLAMA_CPP) == expected
    assert required_form(source, EngineKind.COMMAND) is None


def test_the_built_in_models_are_those_that_can_be_made() -> None:
    """The gate's own process knows their names, and nothing else of them."""
    assert tuple(RECIPES) == BUILT_IN_MODELS


@given(source=st.text(st.sampled_from("hf:/@.~$\\aA0- "), max_size=12) | st.text(max_size=12))
def test_a_hub_source_that_is_allowed_names_a_file(source: str) -> None:
    """Whatever a source says, it is allowed or refused with words."""
    form = required_form(source, EngineKind.LLAMA_CPP)
    if form is None and source.startswith("hf:"):
        assert isinstance(hub_file_of(source), HubFile)
    assert form != ""
