"""Every sampler, in the orders in which people use them, draws the tokens of llama-server."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.engines.llama_cpp import native
from repro_gate.samplers import PLAIN, PLAIN_ORDER, SAMPLERS, SERVER_ORDER
from tests.contract.oracle.cells import SERVER, cell_of
from tests.fakes.driven_engine import CELL

if TYPE_CHECKING:
    from tests.contract.oracle.twins import Twins

_SEEDS = (42, 1234567)
_TOKENS = 32
_REPETITIVE = "The cat sat on the mat. The dog sat on the mat. The cow sat on the"
_REVERSED = tuple(reversed(SERVER_ORDER))
_CELLS: Mapping[str, dict[str, Any]] = {
    "plain": {**SERVER},
    "plain, no top_k": {**SERVER, "top_k": 0},
    "plain, top_k 500": {"top_k": 500, "top_p": 0.99, "min_p": 0.001, "temperature": 1.5},
    "plain, greedy": {**PLAIN, "temperature": 0},
    "defaults of llama-server": cell_of(),
    "greedy": cell_of(temperature=0),
    "repeat_penalty": cell_of(repeat_penalty=1.5, prompt=_REPETITIVE),
    "repeat_penalty, greedy": cell_of(repeat_penalty=1.3, temperature=0, prompt=_REPETITIVE),
    "repeat_last_n": cell_of(repeat_penalty=1.5, repeat_last_n=4, prompt=_REPETITIVE),
    "frequency and presence": cell_of(
        frequency_penalty=0.7, presence_penalty=0.4, prompt=_REPETITIVE
    ),
    "negative penalties": cell_of(frequency_penalty=-0.5, presence_penalty=-0.5),
    "dry": cell_of(dry_multiplier=2.0, dry_allowed_length=1, prompt=_REPETITIVE),
    "dry, short": cell_of(
        dry_multiplier=1.0,
        dry_base=3.0,
        dry_penalty_last_n=12,
        dry_sequence_breakers=[".", " cat"],
        prompt=_REPETITIVE,
    ),
    "top_n_sigma": cell_of(top_n_sigma=1.0),
    "top_k": cell_of(("top_k", "temperature"), top_k=5),
    "top_k 0": cell_of(top_k=0, temperature=1.2),
    "top_k 1000": cell_of(("top_k", "temperature"), top_k=1000, temperature=1.5),
    "typ_p": cell_of(("typ_p", "temperature"), typical_p=0.5, temperature=1.0),
    "top_p": cell_of(("top_p",), top_p=0.7),
    "min_p": cell_of(("min_p",), min_p=0.1),
    "min_keep": cell_of(top_p=0.1, min_keep=7),
    "xtc": cell_of(xtc_probability=0.5, xtc_threshold=0.05),
    "temperature": cell_of(("temperature",), temperature=0.4),
    "dynamic temperature": cell_of(dynatemp_range=0.6, dynatemp_exponent=1.7),
    "mirostat": cell_of(("temperature", "mirostat")),
    "mirostat alone": cell_of(("mirostat",), mirostat_tau=3.0, mirostat_eta=0.3),
    "mirostat_v2": cell_of(("temperature", "mirostat_v2"), mirostat_tau=4.0),
    "adaptive_p": cell_of((*SERVER_ORDER, "adaptive_p"), adaptive_target=0.4, adaptive_decay=0.7),
    "temperature first": cell_of(("temperature", *PLAIN_ORDER[:-1]), temperature=1.6),
    "reversed": cell_of(_REVERSED, typical_p=0.8, top_n_sigma=2.0, temperature=1.3),
    "everything": cell_of(
        repeat_penalty=1.1,
        frequency_penalty=0.2,
        dry_multiplier=0.8,
        top_n_sigma=3.0,
        typical_p=0.95,
        xtc_probability=0.3,
        xtc_threshold=0.15,
        dynatemp_range=0.3,
        prompt=_REPETITIVE,
    ),
    "logit_bias": cell_of(logit_bias=[[281, 3.5], [28, False], [30, -2.0]]),
    "logit_bias, plain": {**SERVER, "sampling": {"logit_bias": [[281, 3.5], [28, False]]}},
    "logit_bias and penalties": cell_of(repeat_penalty=1.4, logit_bias=[[260, 4.0]]),
    "ignore_eos": cell_of(ignore_eos=True, prompt="<|im_start|>assistant\nYes.", temperature=0),
    "logit_bias and ignore_eos": cell_of(logit_bias=[[2, 9.0], [30, 2.0]], ignore_eos=True),
}


@pytest.fixture(scope="module")
def drawn_freely(twins: "Twins") -> Callable[[str, int], list[int]]:
    """Return a function that gives the tokens without any sampler, for a prompt and a seed."""
    return cache(lambda prompt, seed: _tokens(twins, {**PLAIN, "prompt": prompt}, seed))


def test_every_sampler_is_compared() -> None:
    """In a cell of its own or among others."""
    named = {
        name for cell in _CELLS.values() for name in cell.get("sampling", {}).get("samplers", ())
    }
    assert named == set(SAMPLERS)


def test_both_are_compiled_alike(twins: "Twins") -> None:
    """Otherwise other instructions may be why tokens differ."""
    assert native.system_info().decode().strip() == twins.server.features.strip()


@pytest.mark.parametrize("cell", _CELLS.values(), ids=_CELLS)
def test_the_tokens_are_those_of_the_server(
    twins: "Twins", drawn_freely: Callable[[str, int], list[int]], cell: dict[str, Any]
) -> None:
    """For each seed; and the samplers have an effect, as otherwise nothing would be compared."""
    prompt = cell.get("prompt", CELL["prompt"])
    runs = [(_tokens(twins, cell, seed), drawn_freely(prompt, seed)) for seed in _SEEDS]
    assert any(tokens != free for tokens, free in runs)


def _tokens(twins: "Twins", cell: Mapping[str, Any], seed: int) -> list[int]:
    tokens: list[int] = twins.generate(**cell, max_tokens=_TOKENS, seed=seed)["tokens"]
    return tokens
