"""Served engines of the matrix file, and their models."""

from pathlib import Path

import pytest

from repro_gate.adapters.matrix.in_force import read_settings
from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.origins import Origin
from tests.adapters.matrix.test_reader import matrix_from, refusal_of

_SERVE = 'serve = ["vllm", "serve", "{model}", "--port", "{port}"]'
_STARTED = f"""
[engines.prod]
kind = "served"
dialect = "vllm"
{_SERVE}
ready_timeout_s = 900
env = {{ VLLM_BATCH_INVARIANT = "1" }}
api_key_env = "VLLM_API_KEY"
pass_env = ["HF_HOME"]
"""
_RUNNING = """
[engines.prod]
kind = "served"
dialect = "openai"
base_url = "http://127.0.0.1:8000"
profile = "prod-h200"
"""
_MODEL = """
[models.qwen]
engine = "prod"
source = "models/qwen"
"""


def _with(*tables: str) -> tuple[str, str]:
    return "[sampler]\n", "".join(tables) + "\n[sampler]\n"


def _engine(folder: Path, *tables: str) -> EngineSpec:
    return matrix_from(folder, _with(*tables)).models["qwen"].engine


def test_a_started_server_is_read(tmp_path: Path) -> None:
    """Its keys are settings of the engine, and the variable with the key is passed on."""
    assert _engine(tmp_path, _STARTED, _MODEL) == EngineSpec(
        name="prod",
        kind=EngineKind.SERVED,
        command=(),
        device="cpu",
        settings={
            "dialect": "vllm",
            "serve": ["vllm", "serve", "{model}", "--port", "{port}"],
            "ready_timeout_s": 900,
            "env": ["VLLM_BATCH_INVARIANT=1"],
            "api_key_env": "VLLM_API_KEY",
        },
        timeout_s=300.0,
        pass_env=("HF_HOME", "VLLM_API_KEY"),
    )


def test_a_model_has_its_name_at_the_server(tmp_path: Path) -> None:
    """By default that of the matrix."""
    usual = matrix_from(tmp_path, _with(_STARTED, _MODEL)).models["qwen"]
    named = matrix_from(tmp_path, _with(_STARTED, _MODEL, 'served_as = "org/Qwen"')).models["qwen"]

    assert (usual.name_at_engine, named.name_at_engine) == ("qwen", "org/Qwen")
    assert named.files == (named,)


def test_a_running_server_may_know_its_model_alone(tmp_path: Path) -> None:
    """Then nothing is pinned."""
    engine = '[models.qwen]\nengine = "prod"\n'
    model = matrix_from(tmp_path, _with(_RUNNING, engine)).models["qwen"]

    assert model == ModelSpec(name="qwen", engine=model.engine, source="", sha256=None)
    assert model.files == ()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            _STARTED.replace("{port}", "8000") + _MODEL,
            "engines.prod.serve: expected {port} in it, so that the pinned model is served, on ",
        ),
        (_STARTED.replace("{port}", "{prt}"), "engines.prod.serve: expected only the placeholders"),
        (_STARTED.replace(_SERVE, ""), "engines.prod.serve: expected either serve"),
        (_RUNNING.replace('profile = "prod-h200"', ""), "engines.prod.profile: expected a name"),
        (_RUNNING.replace("127.0.0.1:8000", "x:y@a"), "engines.prod.base_url: expected the URL"),
        (_RUNNING.replace("openai", "tgi"), "engines.prod.dialect: expected one of llama_server"),
        (_RUNNING.replace("prod-h200", "Prod"), "engines.prod.profile: expected "),
        (_RUNNING + "device = 'cuda'", "engines.prod.device: expected none beside base_url"),
        (_RUNNING + "settings = {}", "engines.prod.settings: expected no such key here"),
        (_RUNNING + "command = ['x']", "engines.prod.command: expected no such key here"),
        (_RUNNING + "api_key_env = 'GITHUB_TOKEN'", "engines.prod.api_key_env: expected a variabl"),
        (_RUNNING + "env = { REPRO_GATE_X = '' }", "engines.prod.env: expected the name of a vari"),
        (_RUNNING + "env = { A = '' }", "engines.prod.env: expected none beside base_url"),
        ("[engines.prod]\nkind = 'served'", "engines.prod: expected the key 'dialect', found none"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(tmp_path: Path, tables: str, message: str) -> None:
    """With its place, what was expected and what was found."""
    assert refusal_of(tmp_path, _with(tables)).startswith(message)


@pytest.mark.parametrize("key", ["serve = ['x']", "profile = 'x'", "dialect = 'vllm'"])
def test_a_key_of_servers_is_refused_elsewhere(tmp_path: Path, key: str) -> None:
    """Where it would have no effect."""
    place = key.split(" ", maxsplit=1)[0]

    message = refusal_of(tmp_path, ('kind = "llama_cpp"\n', f'kind = "llama_cpp"\n{key}\n'))

    assert message.startswith(f"engines.exact.{place}: expected no such key here")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            _STARTED + '[models.qwen]\nengine = "prod"\n',
            "models.qwen: expected the key 'source', found none",
        ),
        (
            _RUNNING
            + '[models.qwen]\nengine = "prod"\nsha256 = "DIGEST"'.replace("DIGEST", "0" * 64),
            "models.qwen.sha256: expected no digest without a source",
        ),
        (
            _STARTED + _MODEL + "lora = [{ source = 'a', scale = 1 }]",
            "models.qwen.lora: expected no such key: give the adapter in the command",
        ),
        (
            '[models.qwen]\nengine = "own"\nsource = "x"\nserved_as = "y"',
            "models.qwen.served_as: expected no such key: the engine own is no server",
        ),
    ],
)
def test_a_model_that_cannot_be_is_refused(tmp_path: Path, tables: str, message: str) -> None:
    """With its place, what was expected and what was found."""
    assert refusal_of(tmp_path, _with(tables)).startswith(message)


def test_the_settings_in_force_are_those_of_the_server(tmp_path: Path) -> None:
    """With the defaults of what was left out."""
    matrix_from(tmp_path, _with(_RUNNING, _MODEL, 'served_as = "org/Qwen"'))

    found = read_settings(tmp_path / "repro-gate.toml")

    (engine,) = (each for each in found.engines if each.name == "prod")
    values = {each.name: (each.value, each.origin) for each in engine.settings}
    assert values == {
        "timeout_s": ("300.0", Origin.DEFAULT),
        "dialect": ('"openai"', Origin.MATRIX),
        "base_url": ('"http://127.0.0.1:8000"', Origin.MATRIX),
        "profile": ('"prod-h200"', Origin.MATRIX),
        "ready_timeout_s": ("600.0", Origin.DEFAULT),
    }
    models = [each.settings for each in found.models if each.names == ("qwen",)]
    assert [each.name for each in models[0]] == ["source", "served_as", "lora"]
