"""Fixtures that make each tiny model once, and run it with llama.cpp's low-level bindings."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import TypeAlias

import llama_cpp
import pytest

from repro_gate.tiny_models.maker import MadeModel, make
from repro_gate.tiny_models.recipes import RECIPES

_CONTEXT_LENGTH = 256
_SPECIAL = True
_DATA_TOO = True
_LONGEST_PIECE = 64


class LoadedModel:
    """A model in llama.cpp on the CPU, with a float32 KV cache and flash attention off."""

    def __init__(self, path: Path) -> None:
        settings = llama_cpp.llama_model_default_params()
        settings.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), settings)
        assert self._model, f"{path} was refused by llama.cpp"
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = _CONTEXT_LENGTH
        options.n_seq_max = 1
        options.n_threads = options.n_threads_batch = 1
        options.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        options.type_k = options.type_v = llama_cpp.GGML_TYPE_F32
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)

    def close(self) -> None:
        """Free what llama.cpp allocated."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def tokenize(
        self, text: str | bytes, *, add_special: bool = False, parse: bool = False
    ) -> list[int]:
        """Return the token ids of `text`."""
        encoded = text.encode() if isinstance(text, str) else text
        room = len(encoded) + 4
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(
            self._vocabulary, encoded, len(encoded), tokens, room, add_special, parse
        )
        assert count >= 0, f"{text!r} needs more than {room} tokens"
        return tokens[:count]

    def piece(self, token: int) -> bytes:
        """Return the bytes that `token` stands for, special tokens included."""
        buffer = ctypes.create_string_buffer(_LONGEST_PIECE)
        size = llama_cpp.llama_token_to_piece(
            self._vocabulary, token, buffer, _LONGEST_PIECE, 0, _SPECIAL
        )
        assert size >= 0, f"token {token} has more than {_LONGEST_PIECE} bytes"
        return buffer.raw[:size]

    def is_end(self, token: int) -> bool:
        """Return whether llama.cpp ends a generation at `token`."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocabulary, token))

    def generate(
        self, prompt: str, *, temperature: float, max_tokens: int, seed: int
    ) -> tuple[int, ...]:
        """Return the sampled token ids of a cold run, the end token included."""
        chain = _sampler(temperature, seed)
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), _DATA_TOO)
        pending = self.tokenize(prompt, add_special=True)
        generated: list[int] = []
        while True:
            self._decode(pending)
            generated.append(llama_cpp.llama_sampler_sample(chain, self._context, -1))
            if len(generated) == max_tokens or self.is_end(generated[-1]):
                break
            pending = generated[-1:]
        llama_cpp.llama_sampler_free(chain)
        return tuple(generated)

    def _decode(self, tokens: list[int]) -> None:
        # llama_batch_get_one keeps a pointer only, so the array must outlive the decode.
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        batch = llama_cpp.llama_batch_get_one(array, len(tokens))
        assert llama_cpp.llama_decode(self._context, batch) == 0


def _sampler(temperature: float, seed: int) -> "llama_cpp.llama_sampler_p":
    params = llama_cpp.llama_sampler_chain_default_params()
    chain: llama_cpp.llama_sampler_p = llama_cpp.llama_sampler_chain_init(params)
    for sampler in (
        llama_cpp.llama_sampler_init_top_k(40),
        llama_cpp.llama_sampler_init_top_p(0.95, 1),
        llama_cpp.llama_sampler_init_min_p(0.05, 1),
        llama_cpp.llama_sampler_init_temp(temperature),
        llama_cpp.llama_sampler_init_dist(seed),
    ):
        llama_cpp.llama_sampler_chain_add(chain, sampler)
    return chain


ModelMaker: TypeAlias = Callable[[str], MadeModel]
ModelLoader: TypeAlias = Callable[[str], LoadedModel]


@pytest.fixture(scope="session")
def made_model(tmp_path_factory: pytest.TempPathFactory) -> ModelMaker:
    """Return a function that makes a model by name, once per session."""
    folder = tmp_path_factory.mktemp("tiny-models")

    @cache
    def model(name: str) -> MadeModel:
        return make(RECIPES[name], folder / f"{name}.gguf")

    return model


@pytest.fixture(scope="session")
def loaded_model(made_model: ModelMaker) -> Iterator[ModelLoader]:
    """Return a function that loads a model by name, once per session."""
    with ExitStack() as opened:

        @cache
        def model(name: str) -> LoadedModel:
            return opened.enter_context(closing(LoadedModel(made_model(name).path)))

        yield model
