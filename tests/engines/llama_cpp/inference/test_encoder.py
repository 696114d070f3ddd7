"""An encoder reads the prompt, and a decoder starts with a token of its own."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from string import printable
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.protocol import Method
from tests.engines.llama_cpp.test_recipe import BareModel
from tests.fakes.driven_engine import CELL, DrivenEngine
from tests.fakes.model_kinds import make_kind

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import LoadParams

_START, _END = 0, [1, b"</s>".hex()]
_PROMPT = "The quick brown fox jumps over the lazy dog"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a small T5."""
    return make_kind("t5", tmp_path_factory.mktemp("t5") / "t5.gguf").path


@pytest.fixture(scope="module")
def engine(path: Path) -> Iterator[DrivenEngine]:
    """Yield an engine with the T5 loaded."""
    with closing(DrivenEngine({})) as driven:
        assert driven.load(path, contexts=1)["notes"] == []
        yield driven


def test_a_bare_loop_computes_the_same_log_probabilities(engine: DrivenEngine, path: Path) -> None:
    """Every bit agrees with a loop that encodes the prompt, and decodes from the start token."""
    result: Any = engine.generate(temperature=0, max_tokens=50, trace=True)
    prompt = [token for token, _ in result["prompt"]]
    with closing(BareModel(path)) as model:
        model.encode(prompt)
        expected = list(model.greedy([_START], len(result["tokens"])))
    chosen = [token for token, _ in result["tokens"]]
    logprobs = [entry["logprob"] for entry in result["trace"]]
    assert list(zip(chosen, logprobs, strict=True)) == expected


def test_the_tokens_of_the_prompt_are_those_of_the_encoder(engine: DrivenEngine) -> None:
    """They end as T5 was trained, and the start token of the decoder is none of them."""
    prompt = engine.generate(prompt=_PROMPT, max_tokens=1)["prompt"]
    assert bytes.fromhex("".join(data for _, data in prompt[:-1])).decode() == _PROMPT
    assert prompt[-1] == _END


def test_the_context_holds_tokens_of_the_decoder_only(engine: DrivenEngine) -> None:
    """All of it but the start token can be generated after a prompt of any length."""
    whole = engine.generate(prompt=_PROMPT * 4, max_tokens=255)
    assert len(whole["tokens"]) == 255 or whole["stop"] == "end_of_generation"
    assert engine.refusal(Method.GENERATE, **(CELL | {"max_tokens": 256})) == (
        "out_of_context",
        "1 tokens of prompt and 256 more do not fit in n_ctx = 256",
    )


def test_a_prompt_that_cannot_be_encoded_at_once_is_refused(
    fresh_engine: DrivenEngine, path: Path
) -> None:
    """llama.cpp would end the process; the next cell has its own prompt."""
    fresh_engine.load(path)
    alone = fresh_engine.generate(prompt="a")
    fresh_engine.load(path, n_ubatch=8)
    kind, message = fresh_engine.refusal(Method.GENERATE, **(CELL | {"prompt": _PROMPT}))
    assert kind == "bad_request"
    assert message.startswith("settings.n_ubatch: expected at least ")
    assert message.endswith("as an encoder computes all tokens of a prompt at once, found 8")
    assert fresh_engine.generate(prompt="a") == alone


def test_a_penalty_counts_no_token_of_the_encoder(engine: DrivenEngine) -> None:
    """With one that bans what it counts, tokens of the prompt are generated, once each."""
    sampling = {
        "samplers": ["penalties", "temperature"],
        "repeat_last_n": 256,
        "repeat_penalty": 1,
        "frequency_penalty": 0,
        "presence_penalty": 1000,
        "dynatemp_range": 0,
        "dynatemp_exponent": 1,
    }
    plain = {"top_k": 0, "top_p": 1, "min_p": 0, "max_tokens": 60}
    found = engine.generate(prompt=" ".join(printable), sampling=sampling, **plain)
    tokens = [token for token, _ in found["tokens"]]
    assert len(set(tokens)) == len(tokens)
    assert {token for token, _ in found["prompt"]} & set(tokens)


def test_a_response_of_text_is_a_text_of_its_own(engine: DrivenEngine) -> None:
    """It is tokenized alone, without the end, and scored like its ids."""
    text = engine.ask(Method.SCORE, prompt=_PROMPT, response="jumps over")
    ids = {part: [token for token, _ in text[part]] for part in ("prompt", "response")}
    by_ids = engine.ask(Method.SCORE, **ids)
    assert text["prompt"][-1] == _END
    assert text["response"][-1] != _END
    assert by_ids["logprobs"] == text["logprobs"]


def test_a_quantized_v_cache_is_refused(
    idle_engine: DrivenEngine, engine_load_params: "LoadParams", path: Path
) -> None:
    """llama.cpp transposes it with the bias of positions, which gives other numbers silently."""
    settings = {"flash_attention": True, "kv_type": "q8_0"}
    kind, message = idle_engine.refusal(Method.LOAD, **engine_load_params(path, **settings))
    assert kind == "bad_request"
    assert message.startswith("settings.kv_type: expected a V cache of f32, f16 or bf16 for a mod")
    assert message.endswith("found q8_0")


def test_a_decoder_needs_a_token_to_start_with(
    idle_engine: DrivenEngine, engine_load_params: "LoadParams", tmp_path: Path
) -> None:
    """One outside of the vocabulary is refused when the model is loaded."""
    path = make_kind("t5", tmp_path / "t5.gguf", decoder_start_token_id=640).path
    kind, message = idle_engine.refusal(Method.LOAD, **engine_load_params(path))
    assert kind == "model_invalid"
    assert message.startswith("the file names no token for its decoder to start with; convert")
