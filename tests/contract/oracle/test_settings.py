"""With the same settings, the tokens are those of llama-server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.oracle.twins import SETTINGS, Twins

_WORDS = "the quick brown fox jumps over a lazy dog while seven wise owls watch from old oak trees"
_LONG = {"n_ctx": 2048, "n_batch": 2048, "n_ubatch": 512}
"""The batches of llama-server."""


def _prompt(words: int) -> str:
    known = _WORDS.split()
    return " ".join(known[(place * place + 3 * place) % len(known)] for place in range(words))


@pytest.fixture
def twins_with(oracle: Path, smollm2: Path) -> Iterator[Callable[..., Twins]]:
    """Return a function that starts both with some settings."""
    with ExitStack() as opened:

        def start(**settings: Any) -> Twins:
            every = {**SETTINGS, **settings}
            if "kv_type_k" in settings:
                del every["kv_type"]
            return opened.enter_context(closing(Twins(oracle, smollm2, every)))

        yield start


@pytest.mark.parametrize(
    "settings",
    [
        {"kv_type": "f32"},
        {"kv_type": "bf16"},
        {"kv_type_k": "q8_0", "kv_type_v": "f16"},
        {"kv_type_k": "q4_0", "kv_type_v": "bf16"},
        {"n_batch": 64, "n_ubatch": 16},
        {"repack": False},
        {"swa_full": False},
        {"rope_freq_base": 20000.0},
        {"rope_scaling": "linear", "rope_freq_scale": 0.5},
        {"rope_scaling": "yarn", "rope_freq_scale": 0.5, "yarn_orig_ctx": 1024},
        {"rope_scaling": "none"},
    ],
    ids=str,
)
def test_the_tokens_are_those_of_the_server(
    twins_with: Callable[..., Twins], settings: dict[str, Any]
) -> None:
    """At temperature 0, and drawn."""
    twins = twins_with(**settings)
    for temperature in (0, 0.8):
        twins.generate(prompt=_prompt(70), max_tokens=24, temperature=temperature)


def test_a_long_prompt_is_split_as_in_the_server(twins_with: Callable[..., Twins]) -> None:
    """One of more than 1,024 tokens, in batches of at most 512."""
    twins = twins_with(**_LONG)
    assert len(twins.server.tokenize(_prompt(1100))) > 1024
    twins.generate(prompt=_prompt(1100), max_tokens=16)


def test_flash_attention_differs_by_rounding_alone(twins_with: Callable[..., Twins]) -> None:
    """For prompts of 64 tokens and more nothing differs; for others, a compiler decides.

    In `ggml_compute_forward_flash_attn_ext_f16_one_chunk`, the line `S = S*ms + vs` is one rounding
    (FMA) or two. GCC 12 compiles it to one, the GCC 10 of the wheel to two: compiled to two for the
    engine as well, all log-probabilities are equal.
    """
    twins = twins_with(flash_attention=True)
    ours, theirs = twins.first_logprobs(_prompt(100))
    assert ours == pytest.approx(theirs, abs=0.001)
    for words in (4, 8, 16, 32):
        ours, theirs = twins.first_logprobs(_prompt(words))
        assert ours == pytest.approx(theirs, abs=0.5)
