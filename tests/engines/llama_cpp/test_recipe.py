"""The engine computes what a bare loop over llama.cpp's bindings computes, to the bit."""

import ctypes
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import ModelMaker
    from tests.fakes.driven_engine import DrivenEngine


class BareModel:
    """llama.cpp on the CPU, driven in the plainest way, with a batch that it fills in itself."""

    def __init__(self, path: Path) -> None:
        settings = llama_cpp.llama_model_default_params()
        settings.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), settings)
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = 256
        options.n_threads = options.n_threads_batch = 1
        options.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        options.type_k = options.type_v = llama_cpp.GGML_TYPE_F32
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._size = llama_cpp.llama_vocab_n_tokens(vocabulary)

    def close(self) -> None:
        """Free what llama.cpp allocated."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def encode(self, prompt: list[int]) -> None:
        """Let the encoder of the model read a prompt."""
        array = (ctypes.c_int32 * len(prompt))(*prompt)
        batch = llama_cpp.llama_batch_get_one(array, len(prompt))
        assert llama_cpp.llama_encode(self._context, batch) == 0

    def greedy(self, prompt: list[int], count: int) -> Iterator[tuple[int, float]]:
        """Yield the likeliest tokens and their log-probabilities."""
        pending = prompt
        for _ in range(count):
            array = (ctypes.c_int32 * len(pending))(*pending)
            batch = llama_cpp.llama_batch_get_one(array, len(pending))
            assert llama_cpp.llama_decode(self._context, batch) == 0
            row = llama_cpp.llama_get_logits_ith(self._context, -1)
            logits = np.ctypeslib.as_array(row, (self._size,)).astype(np.float64)
            logits -= logits.max()
            token = int(logits.argmax())
            yield token, float((logits - np.log(np.exp(logits).sum()))[token])
            pending = [token]


@pytest.mark.parametrize("name", ["tiny-qwen2", "tiny-phi3"])
def test_a_bare_loop_computes_the_same_log_probabilities(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker", name: str
) -> None:
    """Every bit agrees: one cold batch, logits for its last token only, one token at a time."""
    path = tiny_model(name).path
    fresh_engine.load(path)
    result: Any = fresh_engine.generate(temperature=0, max_tokens=50, trace=True)
    prompt = [token for token, _ in result["prompt"]]
    with closing(BareModel(path)) as model:
        expected = list(model.greedy(prompt, len(result["tokens"])))
    chosen = [token for token, _ in result["tokens"]]
    logprobs = [entry["logprob"] for entry in result["trace"]]
    assert list(zip(chosen, logprobs, strict=True)) == expected
