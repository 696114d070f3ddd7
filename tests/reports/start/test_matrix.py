"""The first matrix of every source is read back, whatever the names that it was made of."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.matrix.prompts import read_beside
from repro_gate.adapters.matrix.reader import parse_matrix
from repro_gate.core.logprobs.policy import PolicyKind
from repro_gate.core.matrix import Matrix
from repro_gate.core.start.machine import Found, Place, RunningServer
from repro_gate.core.start.matrix import (
    FirstMatrix,
    Pin,
    Section,
    matrix_of_built_in,
    matrix_of_file,
    matrix_of_hosted,
    matrix_of_server,
)
from repro_gate.core.start.prompts import ChatForm
from repro_gate.core.start.providers import KNOWN_PROVIDERS
from repro_gate.core.start.sources import BuiltInModel, HostedModel, ServedModel
from repro_gate.reports.start.matrix import render_matrix
from repro_gate.server_settings import Dialect
from tests.core.logprobs.test_capabilities import ALL, report_of
from tests.fakes.hostile_text import HOSTILE
from tests.fakes.machines import DIGEST, model_of

_FILE = Path("repro-gate.toml")
_PIN = Pin(source="models/m.gguf", sha256=DIGEST)
_CPU = Found(cores=8)
_GPU = Found(cores=8, gpus=("NVIDIA H200",))
_BIG = 8 << 30


def _read(matrix: FirstMatrix) -> Matrix:
    return parse_matrix(render_matrix(matrix).encode(), _FILE, read_beside(_FILE))


def _of_file(found: Found = _CPU, chat: ChatForm | None = None, **changes: Any) -> FirstMatrix:
    return matrix_of_file(model_of(**changes), _PIN, found, chat)


def _server(dialect: Dialect, **changes: Any) -> ServedModel:
    usual = {"url": "http://127.0.0.1:8080", "software": "S", "dialect": dialect, "models": ("x",)}
    return ServedModel(server=RunningServer(**(usual | changes)), model="X y")


def _hosted(name: str, model: str = "m") -> HostedModel:
    known = KNOWN_PROVIDERS[name]
    return HostedModel(name=name, provider=known, model=model, api_key_env=known.api_key_env)


@pytest.mark.parametrize(
    ("found", "size", "settings"),
    [
        (_CPU, 1, {"n_ctx": 1024, "threads": 1}),
        (_CPU, _BIG, {"n_ctx": 1024, "threads": 4}),
        (_GPU, _BIG, {"n_ctx": 1024, "threads": 4}),
        (Found(gpus=("NVIDIA T4",)), 1, {"n_ctx": 1024, "threads": 1}),
    ],
    ids=["small", "large", "on a GPU", "one core"],
)
def test_a_file_is_pinned_with_settings_for_this_machine(
    found: Found, size: int, settings: dict[str, int]
) -> None:
    """One thread for each answer of a small model; the rest is as llama-server has it."""
    (model,) = _read(_of_file(found, size=size)).models.values()

    assert (model.source, model.sha256) == ("models/m.gguf", DIGEST)
    assert model.engine.settings.items() >= settings.items()
    assert model.engine.device == ("cuda" if found.gpus else "cpu")
    assert model.engine.timeout_s == (1800 if size == _BIG and not found.gpus else 120)


@pytest.mark.parametrize(("trained", "n_ctx"), [(None, 1024), (100, 256), (600, 512), (8192, 1024)])
def test_a_context_is_no_longer_than_in_training(trained: int | None, n_ctx: int) -> None:
    """But at least what llama.cpp rounds up to."""
    (model,) = _read(_of_file(context=trained)).models.values()

    assert model.engine.settings["n_ctx"] == n_ctx


def test_a_model_with_a_template_gets_chats() -> None:
    """With the variables that the template needs."""
    matrix = _of_file(chat=ChatForm(variables={"enable_thinking": True}))

    (suite,) = _read(matrix).suites.values()
    chats = [cell.chat for cell in suite.cells]
    assert len(chats) == matrix.cells == 6
    assert {chat.template_kwargs for chat in chats if chat} == {'{"enable_thinking":true}'}
    runner, template = matrix.remarks
    assert "The runner of the workflow needs the model file" in runner
    assert "enable_thinking" in template


@pytest.mark.parametrize("chat", [None, ChatForm(refused="the template\nfails")])
def test_a_model_without_a_usable_template_gets_texts(chat: ChatForm | None) -> None:
    """A reason is a comment, on one line."""
    text = render_matrix(_of_file(chat=chat))

    (suite,) = _read(_of_file(chat=chat)).suites.values()
    assert [cell.chat for cell in suite.cells] == [None] * 6
    assert (r"# the template\nfails" in text) == (chat is not None)


def test_a_file_of_a_cache_has_its_portable_source_in_a_comment() -> None:
    """The path works here, the source elsewhere."""
    source = "hf:owner/repo@main/m.gguf"

    text = render_matrix(_of_file(place=Place.HUGGING_FACE, source=source))

    assert f"\n# {source}\n[models.m]\n" in text


def test_a_model_of_ollama_has_its_name_there() -> None:
    """Its file is named by a digest."""
    matrix = _of_file(place=Place.OLLAMA, title="llama3.2:latest", path="/blobs/sha256-00")

    assert list(_read(matrix).models) == ["llama3-2-latest"]


def test_the_built_in_model_is_read() -> None:
    """With settings that give the same tokens on many machines."""
    (model,) = _read(matrix_of_built_in(BuiltInModel())).models.values()

    assert (model.source, model.engine.settings["kv_type"]) == ("builtin:tiny-qwen2", "f32")


@pytest.mark.parametrize("dialect", [*Dialect, None])
@pytest.mark.parametrize("has_chat", [False, True])
def test_a_running_server_is_read(dialect: Dialect, has_chat: bool) -> None:  # noqa: FBT001
    """Chats are for servers whose chats can be compared."""
    source = _server(dialect, has_chat=has_chat)

    read = _read(matrix_of_server(source, _GPU, None))
    (model,), (suite,) = read.models.values(), read.suites.values()
    assert (model.engine.host, model.name_at_engine) == ("127.0.0.1:8080", "X y")
    chats = has_chat and dialect in {Dialect.LLAMA_SERVER, Dialect.VLLM}
    assert {cell.chat is not None for cell in suite.cells} == {chats}


def test_a_server_that_calls_its_model_by_a_path_gives_a_short_name() -> None:
    """llama-server does, without --alias."""
    source = replace(_server(Dialect.LLAMA_SERVER), model="/srv/models/Smol.gguf")

    read = _read(matrix_of_server(source, _CPU, None))

    assert {key: each.name_at_engine for key, each in read.models.items()} == {
        "smol": "/srv/models/Smol.gguf"
    }


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ({}, ["-c", "1024", "-np", "1"]),
        ({"slots": 4, "context": 2048}, ["-c", "8192", "-np", "4"]),
    ],
    ids=["unknown", "known"],
)
def test_a_server_that_can_be_started_is_pinned(sizes: dict[str, int], options: list[str]) -> None:
    """Its context is that of all slots together."""
    source = _server(Dialect.LLAMA_SERVER, **sizes)

    (model,) = _read(matrix_of_server(source, _CPU, _PIN)).models.values()
    serve = model.engine.settings["serve"]
    assert isinstance(serve, list)
    assert (model.source, model.sha256, serve[-4:]) == ("models/m.gguf", DIGEST, options)


def test_a_model_called_as_in_the_matrix_needs_no_other_name() -> None:
    """The key would only repeat it."""
    source = ServedModel(server=_server(Dialect.VLLM).server, model="plain")

    assert "served_as" not in render_matrix(matrix_of_server(source, _CPU, None))


@pytest.mark.parametrize("name", KNOWN_PROVIDERS)
def test_every_known_provider_is_read(name: str) -> None:
    """With the policy that its kind promises, and a note that it was not tried."""
    matrix = matrix_of_hosted(_hosted(name))

    (suite,) = _read(matrix).logprob_suites.values()
    (policy,) = {cell.policy for cell in suite.cells}
    assert policy.kind is KNOWN_PROVIDERS[name].use[0]
    assert (matrix.key, len(matrix.remarks)) == (KNOWN_PROVIDERS[name].api_key_env, 1)


def test_a_probed_model_has_every_possible_policy() -> None:
    """And nothing is left to be tried."""
    known = KNOWN_PROVIDERS["openai"]
    source = HostedModel(
        name="here", provider=known, model="m", api_key_env=None, probe=report_of(ALL)
    )

    matrix = matrix_of_hosted(source)
    (suite,) = _read(matrix).logprob_suites.values()
    assert {cell.policy.kind for cell in suite.cells} == set(PolicyKind)
    assert (matrix.cells, len(suite.cells), matrix.remarks) == (15, 15, ())


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_values_and_nothing_else(text: str) -> None:
    """Of a file, a model, its source, and a refusal; a name that is no text is refused."""
    source = text[:200] if text.isprintable() else "m.gguf"
    model = model_of(source=text, title=text, place=Place.OLLAMA)
    matrix = matrix_of_file(model, Pin(source=f"./x/{source}", sha256=DIGEST), _CPU, None)
    served = ServedModel(server=_server(Dialect.VLLM).server, model=source)

    assert _read(matrix).default_suites == ("pull-request",)
    (read,) = _read(matrix_of_server(served, _CPU, None)).models.values()
    assert read.name_at_engine == source


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1))
def test_every_printable_model_name_comes_back(text: str) -> None:
    """Through TOML and the reader."""
    matrix = matrix_of_hosted(_hosted("fireworks", model=text))

    (suite,) = _read(matrix).logprob_suites.values()
    assert {cell.policy.model for cell in suite.cells} == {text}


@given(st.text())
def test_no_comment_becomes_a_value(text: str) -> None:
    """Whatever it holds."""
    lines = render_matrix(
        FirstMatrix(sections=(Section(name=(), values={}, comments=(text,)),), suite="s", cells=1)
    )

    assert tomllib.loads(lines) == {}
    assert all(line.startswith("# ") for line in lines.splitlines())
