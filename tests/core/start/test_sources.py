"""What a word on the command line is, what is offered first, and names for untrusted texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.guards import is_name
from repro_gate.core.start.machine import Found, Place, RunningServer
from repro_gate.core.start.sources import (
    BuiltInModel,
    ServedModel,
    SourceForm,
    form_of,
    name_of,
    offers_of,
)
from repro_gate.server_settings import Dialect
from tests.fakes.machines import model_of

_HERE, _CACHED = model_of(), model_of("/b", Place.OLLAMA)
_EXACT = RunningServer(
    url="http://127.0.0.1:8080",
    software="llama-server",
    dialect=Dialect.LLAMA_SERVER,
    models=("a", "b"),
)
_OTHER = RunningServer(url="http://127.0.0.1:11434", software="Ollama", models=("c",))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("builtin:tiny-qwen2", SourceForm.BUILT_IN),
        ("http://127.0.0.1:8080", SourceForm.URL),
        ("fireworks", SourceForm.PROVIDER),
        ("./fireworks", SourceForm.FILE),
        ("hf:owner/repo/m.gguf", SourceForm.FETCHED),
        ("package:name==1.0/m.gguf", SourceForm.FETCHED),
        ("models/a.gguf", SourceForm.FILE),
    ],
)
def test_a_source_is_recognised_by_its_form(text: str, form: SourceForm) -> None:
    """A file with the name of a provider is written with its folder."""
    assert form_of(text) is form


def test_what_can_be_pinned_best_is_offered_first() -> None:
    """Files of the folder, servers with tokens, files of caches, other servers, a tiny model."""
    found = Found(models=(_HERE, _CACHED), servers=(_OTHER, _EXACT))

    assert [offer.source for offer in offers_of(found)] == [
        _HERE,
        ServedModel(server=_EXACT, model="a"),
        ServedModel(server=_EXACT, model="b"),
        _CACHED,
        ServedModel(server=_OTHER, model="c"),
        BuiltInModel(),
    ]


def test_a_machine_with_nothing_gets_the_tiny_model() -> None:
    """And the reason says so."""
    (offer,) = offers_of(Found())

    assert offer.source == BuiltInModel()
    assert offer.reason.startswith("nothing better was found; for English: repro-gate init ")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct-q4-1"),
        ("accounts/fireworks/models/tiny", "accounts-fireworks-models-tiny"),
        ("../\x1b[31m\n", "31m"),
        ("名前", "model"),
        ("", "model"),
    ],
)
def test_a_name_is_like_its_text(text: str, name: str) -> None:
    """What no name has is a hyphen; nothing left is `model`."""
    assert name_of(text) == name


@given(st.text(max_size=400))
def test_every_text_has_a_name(text: str) -> None:
    """Whatever it holds."""
    assert is_name(name_of(text))
