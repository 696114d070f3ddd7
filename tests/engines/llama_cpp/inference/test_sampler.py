"""Every token that is drawn is the one that llama.cpp's whole chain draws."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.inference.logits import COLUMNS, Logits
from repro_gate.engines.llama_cpp.inference.sampler import open_sampler
from repro_gate.engines.requests import GenerateRequest

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_LARGE = 3 * COLUMNS + 7
_EXTREMES = (0.0, -0.0, 1e-45, -1e-45, 1.0, float(np.nextafter(np.float32(1), np.float32(2))), 8.0)


def request(
    *, top_k: int = 0, top_p: float = 0.95, min_p: float = 0.05, temperature: float = 0.7
) -> GenerateRequest:
    """Return a request with some sampler settings."""
    return GenerateRequest(
        prompt="x",
        seed=42,
        max_tokens=1,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        trace=False,
    )


@contextmanager
def whole_chain(asked: GenerateRequest) -> Iterator[native.Sampler]:
    """Yield one chain of all the samplers."""
    chain = native.new_chain(native.chain_params())
    links = (
        [native.greedy()]
        if asked.temperature == 0
        else [
            native.top_k(asked.top_k),
            native.top_p(asked.top_p, 1),
            native.min_p(asked.min_p, 1),
            native.temperature(asked.temperature),
            native.dist(asked.seed),
        ]
    )
    for link in links:
        native.add_to_chain(chain, link)
    yield chain
    native.free_sampler(chain)


def sample(chain: native.Sampler, logits: Logits) -> int:
    """Draw as `llama_sampler_sample` does, from the whole vocabulary."""
    candidates = np.zeros(logits.size, _CANDIDATE)
    candidates["id"] = np.arange(logits.size)
    candidates["logit"] = logits
    array = native.candidate_array(candidates.ctypes.data)
    array.size = logits.size
    native.apply(chain, array)
    token = int(candidates["id"][array.selected])
    native.accept(chain, token)
    return token


def plain_draws(asked: GenerateRequest, positions: Sequence[Logits]) -> list[int]:
    """Return the draws of one chain."""
    with whole_chain(asked) as chain:
        return [sample(chain, logits) for logits in positions]


def draws(asked: GenerateRequest, positions: Sequence[Logits], *, contexts: int = 1) -> list[int]:
    """Return the draws of the engine."""
    with open_sampler(asked, positions[0].size, contexts=contexts) as sampler:
        return [sampler.draw(logits, partial(sample, logits=logits)) for logits in positions]


def likelihood_kept(logits: Logits, min_p: float) -> float:
    """Return how likely all tokens together are that `min_p` keeps."""
    weights = np.exp(logits.astype(np.float64) - float(logits.max()))
    return float(weights[weights >= min_p].sum() / weights.sum())


@st.composite
def vocabularies(draw: st.DrawFn, size: int) -> Logits:
    """Logits from flat to peaked, from tiny to huge, often with many equal ones."""
    numbers = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([1e-45, 1e-3, 0.3, 1.0, 2.5, 8.0, 1e3, 1e8, 1e30, 5e37]))
    logits = numbers.normal(draw(st.sampled_from([0.0, 0.0, -50.0, 9.9])), 1.0, size) * scale
    match draw(st.sampled_from(["distinct", "rounded", "few values", "mostly one", "extremes"])):
        case "distinct":
            pass
        case "rounded":
            step = scale * draw(st.sampled_from([1e-3, 0.1, 1.0]))
            logits = np.round(logits / step) * step if step else logits
        case "few values":
            logits = numbers.choice(logits[:5], size)
        case "mostly one":
            others = numbers.integers(0, size, 3)
            few = logits[others]
            logits[:] = logits[0]
            logits[others] = few
        case _:
            logits = numbers.choice(_EXTREMES, size)
    return np.clip(logits, -3.4e38, 3.4e38).astype(np.float32)


@st.composite
def runs(draw: st.DrawFn) -> tuple[GenerateRequest, list[Logits]]:
    """Sampler settings, and the logits of some positions of one run."""
    size = draw(st.sampled_from([1, 2, 41, 300, 1025, _LARGE]))
    positions = [draw(vocabularies(size)) for _ in range(draw(st.integers(1, 4)))]
    min_p = draw(st.sampled_from([0.0, 1e-45, 1e-6, 0.05, 0.3, 1.0]) | st.floats(0, 1))
    # Where top_p cuts about as much as min_p, rounding decides.
    close = likelihood_kept(positions[0], min_p) * draw(st.floats(0.98, 1.02))
    top_p = draw(st.sampled_from([close, close, 0.95, 0.95, 0.5, 1.0, 1e-6]))
    return request(
        top_k=draw(st.sampled_from([0, 0, 0, 1, 2, 40, 128, 129, 3000, 2**31 - 1])),
        top_p=min(max(top_p, 1e-6), 1.0),
        min_p=min_p,
        temperature=draw(st.sampled_from([0.0, 0.001, 0.7, 1.0, 5.0])),
    ), positions


@settings(max_examples=400, deadline=None)
@given(runs())
def test_every_draw_is_that_of_the_whole_chain(
    run: tuple[GenerateRequest, list[Logits]],
) -> None:
    """For any logits and samplers, with the random numbers in step over many draws."""
    asked, positions = run
    positions = positions * 5
    expected = plain_draws(asked, positions)
    assert draws(asked, positions) == expected
    assert draws(asked, positions, contexts=16) == expected


def few_above(equal: int) -> Logits:
    """Ten distinct logits above many equal ones, all of them in reach of a draw."""
    logits = np.full(_LARGE, -9.0, dtype=np.float32)
    numbers = np.random.default_rng(5)
    places = numbers.permutation(_LARGE)
    logits[places[:10]] = np.linspace(1, 1.5, 10)
    logits[places[10 : 10 + equal]] = 0.5
    return logits


@pytest.mark.parametrize("equal", [5, 6, 40, _LARGE - 10])
@pytest.mark.parametrize("top_k", [0, 15, 16, 200])
def test_which_of_equal_tokens_is_drawn_is_decided_by_llama_cpp(equal: int, top_k: int) -> None:
    """Also where `top_k` keeps some of the equal ones, and where all but ten are equal."""
    asked = request(top_k=top_k, min_p=0.3, temperature=5.0, top_p=0.999)
    positions = [few_above(equal)] * 60
    tokens = draws(asked, positions)
    assert tokens == plain_draws(asked, positions)
    assert 0.5 in few_above(equal)[tokens]


def test_the_first_of_the_highest_is_drawn_at_temperature_0() -> None:
    """Also when a negative zero comes before the positive one."""
    logits = np.array([-1.0, -0.0, 0.0, -0.0], dtype=np.float32)
    assert draws(request(temperature=0), [logits]) == [1]
    assert plain_draws(request(temperature=0), [logits]) == [1]


def test_the_sums_of_top_p_are_those_of_llama_cpp() -> None:
    """In float32, many tiny addends after a large one are lost, and `top_p` keeps one token.

    Their exact sum would make the two likeliest together less likely than `top_p`.
    """
    logits = np.full(151_936, np.log(2e-8), dtype=np.float32)
    logits[:2] = 0, np.log(0.0011)
    assert likelihood_kept(logits, 0.001) < 0.998
    asked = request(top_p=0.998, min_p=0.001, temperature=5.0)
    assert draws(asked, [logits] * 60) == plain_draws(asked, [logits] * 60) == [0] * 60


@pytest.mark.parametrize("top_k", [0, 40, 129, 3000])
def test_logits_that_llama_cpp_sorts_wrongly_are_drawn_from_its_order(top_k: int) -> None:
    """Above 2**31 / 6.4 it takes a logit for a small one, except in the sort for a small k."""
    logits = np.linspace(0, 5e8, _LARGE, dtype=np.float32)
    asked = request(top_k=top_k, temperature=1000.0)
    assert draws(asked, [logits] * 20) == plain_draws(asked, [logits] * 20)


@pytest.mark.parametrize("top_k", [40, 0])
def test_draws_from_a_real_size_of_vocabulary(top_k: int) -> None:
    """Hundreds of tokens are in reach, some of them equal, in 200 draws of one run."""
    numbers = np.random.default_rng(1)
    positions = [numbers.normal(0, 1.6, 151_936).astype(np.float32) for _ in range(4)] * 50
    asked = request(top_k=top_k)
    assert draws(asked, positions) == plain_draws(asked, positions)
