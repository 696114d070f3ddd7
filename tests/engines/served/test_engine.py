"""The engine speaks the protocol for a server: here a real llama-server."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from repro_gate.protocol import Method
from tests.engines.served.conftest import serving
from tests.fakes.driven_engine import CELL, DrivenEngine

ENGINE = (sys.executable, "-m", "repro_gate.engines.served")
TRACED = {"trace": True, "logits": True}


def _settings(url: str, **changes: Any) -> dict[str, Any]:
    return {"dialect": "llama_server", "base_url": url, "profile": "here"} | changes


def _load(url: str, **changes: Any) -> dict[str, Any]:
    params = {"model": "tiny", "sha256": None, "device": "cpu", "settings": _settings(url)}
    return params | changes


@pytest.fixture(name="engine", scope="module")
def _engine(url: str) -> Iterator[DrivenEngine]:
    """Yield an engine with the model, shared by the tests of the module."""
    with closing(DrivenEngine({}, command=ENGINE)) as driven:
        driven.ask(Method.DESCRIBE, device="cpu", settings=_settings(url))
        driven.ask(Method.LOAD, **_load(url))
        yield driven


def test_a_running_server_is_remote(engine: DrivenEngine, url: str) -> None:
    """Its files and its starts are unknown, and its cache is kept on request."""
    described = engine.ask(Method.DESCRIBE, device="cpu", settings=_settings(url))
    assert sorted(described["can"]) == ["concurrent", "keep_cache", "no_bytes", "remote"]
    assert described["profile"] == "here"


def test_facts_are_of_the_server(url: str) -> None:
    """They name neither its address nor its files."""
    with closing(DrivenEngine({}, command=ENGINE)) as driven:
        facts = driven.ask(Method.LOAD, **_load(url))["facts"]
    assert (facts["server.slots"], facts["model.n_vocab"]) == ("4", "640")
    assert not [value for value in facts.values() if "127.0.0.1" in value or "/" in value]


def test_equal_requests_have_equal_answers(engine: DrivenEngine) -> None:
    """With all their evidence."""
    one, other = (engine.generate(**TRACED) for _ in range(2))
    for answer in (one, other):
        answer.pop("running", None)
    assert one == other
    assert len(one["tokens"]) == len(one["logits"]) == CELL["max_tokens"]
    assert one["cached_tokens"] == 0
    assert engine.generate(seed=1)["tokens"] != one["tokens"]


def test_prompt_and_answer_have_bytes_where_the_server_shows_them(engine: DrivenEngine) -> None:
    """Parts of characters have none."""
    prompt = engine.generate(prompt="The moon 日")["prompt"]
    known = [bytes.fromhex(data) for _, data in prompt if data is not None]
    assert b"".join(known) == b"The moon "
    assert None in {data for _, data in prompt}


def test_a_cache_is_kept_on_request(engine: DrivenEngine) -> None:
    """A cold run after it finds nothing there."""
    prompt = "The weather of the day before yesterday was as good as that of today"
    kept = [engine.generate(prompt=prompt, cache="keep")["cached_tokens"] for _ in range(2)]
    assert kept[1] > 0
    assert engine.generate(prompt=prompt)["cached_tokens"] == 0


def test_requests_share_the_server(engine: DrivenEngine) -> None:
    """Each shows how many were at work with it."""
    long = CELL | {"max_tokens": 100}
    answers = engine.ask_together([(Method.GENERATE, long)] * 4)
    assert max(answer["running"] for answer in answers) > 1


def test_a_chat_is_rendered_by_the_server(engine: DrivenEngine) -> None:
    """The text comes with the answer."""
    params = {name: value for name, value in CELL.items() if name != "prompt"}
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    answer = engine.ask(Method.GENERATE, **params, chat=chat)
    assert answer["rendered"] == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_a_stop_string_ends_an_answer(engine: DrivenEngine) -> None:
    """The content is what stands before it."""
    whole = engine.generate(temperature=0)
    word = next(bytes.fromhex(data) for _, data in whole["tokens"][2:] if data)
    stopped = engine.generate(temperature=0, stop=[word.decode()], trace=True)
    assert (stopped["stop"], stopped["stop_string"]) == ("stop_string", word.decode())
    assert "leaves out the log-probabilities" in stopped["notes"][0]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"prompt": "word " * 2000}, "out_of_context"),
        ({"max_tokens": 5000, "sampling": {"ignore_eos": True}}, "out_of_context"),
        ({"prompt": ""}, "bad_request"),
        ({"sampling": {"grammar": "no grammar"}}, "bad_request"),
    ],
)
def test_what_the_server_refuses_is_refused(
    engine: DrivenEngine, changes: dict[str, Any], kind: str
) -> None:
    """With its words, and the engine stays in service."""
    found, message = engine.refusal(Method.GENERATE, **(CELL | changes))
    assert (found, bool(message)) == (kind, True)
    assert engine.generate()["tokens"]


def test_the_engine_ends_with_its_server(model_file: Path) -> None:
    """The gate then starts another one, and quotes why."""
    with closing(DrivenEngine({}, command=ENGINE)) as driven:
        with serving(model_file, "-c", "256") as (url, server):
            driven.ask(Method.LOAD, **_load(url))
            server.kill()
            server.wait()
            driven.send(Method.GENERATE, CELL)
            assert driven.exit_code() == 1
        assert "the server is gone" in driven.stderr()


def test_a_server_that_is_not_there_is_refused(url: str) -> None:
    """A later load may find it."""
    with closing(DrivenEngine({}, command=ENGINE)) as driven:
        params = _load("http://127.0.0.1:9")
        assert "127.0.0.1:9" not in driven.refusal(Method.LOAD, **params)[1]
        assert driven.refusal(Method.GENERATE, **CELL)[1] == "no model is loaded"
        assert driven.ask(Method.LOAD, **_load(url))["facts"]


def test_adapters_and_missing_keys_are_refused(url: str) -> None:
    """A server has adapters of its own, and a key that is named has to be there."""
    with closing(DrivenEngine({}, command=ENGINE)) as driven:
        lora = [{"path": "/a", "sha256": None, "scale": 1.0}]
        assert "lora" in driven.refusal(Method.LOAD, **_load(url, lora=lora))[1]
        settings = _settings(url, api_key_env="MISSING_KEY")
        refused = driven.refusal(Method.LOAD, **_load(url, settings=settings))
        assert "the variable MISSING_KEY is not set" in refused[1]


def test_a_server_with_another_model_is_refused(url: str, tmp_path: Path) -> None:
    """As far as the sizes show it."""
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    with closing(DrivenEngine({}, command=ENGINE)) as driven:
        refused = driven.refusal(Method.LOAD, **_load(url, path=str(tmp_path / "other.gguf")))
    assert refused[0] == "server_unavailable"
    assert "the server has another model: its tensors have 624896 bytes, the file 4" in refused[1]
