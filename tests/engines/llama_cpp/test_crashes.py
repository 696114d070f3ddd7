"""What llama.cpp cannot compute ends the process by a signal, never with a made-up answer."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from repro_gate.protocol import Method
from repro_gate.tiny_models.architectures import Shape, Tensor
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import LoadParams, ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

CELL = {
    "prompt": "The quick brown fox",
    "seed": 42,
    "max_tokens": 2,
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "trace": False,
}
Layer: TypeAlias = Callable[[Shape], tuple[Tensor, ...]]


@pytest.fixture
def model_with_duplicate_tokens(tiny_model: "ModelMaker", tmp_path: Path) -> Path:
    """Return a model whose first two tokens are both an exclamation mark."""
    data = tiny_model("tiny-qwen2").path.read_bytes()
    path = tmp_path / "duplicate.gguf"
    one_byte = (1).to_bytes(8, "little")
    path.write_bytes(data.replace(one_byte + b'"', one_byte + b"!", 1))
    return path


def test_an_abort_of_llama_cpp_leaves_its_message_on_stderr(
    fresh_engine: "DrivenEngine",
    model_with_duplicate_tokens: Path,
    engine_load_params: "LoadParams",
) -> None:
    """A model with two equal tokens ends the process by SIGABRT, with nothing on stdout."""
    fresh_engine.send(Method.LOAD, engine_load_params(model_with_duplicate_tokens))
    assert fresh_engine.outcome() == (-signal.SIGABRT, b"")
    assert fresh_engine.stderr().endswith(
        "GGML_ASSERT(id_to_token.size() == token_to_id.size()) failed\n"
    )


def test_a_crash_of_llama_cpp_ends_the_process(
    fresh_engine: "DrivenEngine", tmp_path: Path, engine_load_params: "LoadParams"
) -> None:
    """A Phi-3 without its attention matrices ends the process when its first graph is built."""
    recipe = RECIPES["tiny-phi3"]
    layer: Layer = recipe.architecture.layer

    def crippled(shape: Shape) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor in layer(shape) if tensor.name != "attn_qkv.weight")

    architecture = replace(recipe.architecture, layer=crippled)
    path = tmp_path / "crippled.gguf"
    make(replace(recipe, architecture=architecture), path)
    fresh_engine.send(Method.LOAD, engine_load_params(path))
    assert fresh_engine.outcome() == (-signal.SIGSEGV, b"")


def test_logits_that_overflow_are_refused(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker", tmp_path: Path
) -> None:
    """Finite weights can still give logits that are not finite; no token is drawn from them."""
    data = tiny_model("tiny-qwen2").path.read_bytes()
    huge = b"\x99\x76\x61\x7f" * 64  # 3e38 in the whole last row of output.weight
    path = tmp_path / "huge.gguf"
    path.write_bytes(data[: -len(huge)] + huge)
    fresh_engine.load(path)
    prompt_tokens = 8
    for method, params in (
        (Method.GENERATE, CELL),
        (Method.SCORE, {"prompt": CELL["prompt"], "response": [1]}),
    ):
        assert fresh_engine.refusal(method, **params) == (
            "not_finite",
            f"the logits after position {prompt_tokens - 1} hold a NaN or an infinity",
        )
