"""The engine with a server that has the answers of vLLM."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from repro_gate.protocol import Method
from tests.engines.served.conftest import vllm
from tests.fakes.driven_engine import CELL, DrivenEngine

ENGINE = (sys.executable, "-m", "repro_gate.engines.served")
LONG = CELL | {"prompt": "The weather of the day before yesterday was as good as that of today"}


def _load(url: str, *, name: str = "tiny", dialect: str = "vllm") -> dict[str, Any]:
    settings = {"dialect": dialect, "base_url": url, "profile": "here"}
    return {"model": name, "sha256": None, "device": "cpu", "settings": settings}


@contextmanager
def _engine(url: str) -> Iterator[DrivenEngine]:
    with closing(DrivenEngine({}, command=ENGINE)) as driven:
        driven.ask(Method.LOAD, **_load(url))
        yield driven


@pytest.mark.parametrize("options", [(), ("--enable-prompt-tokens-details",)])
def test_cached_tokens_are_known_by_the_answer_or_the_metrics(options: tuple[str, ...]) -> None:
    """VLLM shows them in answers only if it is asked to at its start."""
    with vllm(*options) as url, _engine(url) as engine:
        kept = [engine.ask(Method.GENERATE, **LONG, cache="keep") for _ in range(2)]
        cold = engine.ask(Method.GENERATE, **LONG)
    assert [answer["cached_tokens"] for answer in kept] == [0, 64]
    assert cold.get("cached_tokens", 0) == 0


def test_a_dead_core_ends_the_engine() -> None:
    """The requests in flight get errors, and all that follow would."""
    with vllm("--dies-after", "20") as url, _engine(url) as engine:
        for _ in range(20):
            engine.send(Method.GENERATE, CELL)
        assert engine.exit_code() == 1
        assert "EngineCore encountered an issue" in engine.stderr()


def test_a_name_that_is_not_served_is_refused_with_those_that_are() -> None:
    """Before any request that computes."""
    with vllm() as url, closing(DrivenEngine({}, command=ENGINE)) as driven:
        kind, message = driven.refusal(Method.LOAD, **_load(url, name="other"))
    assert (kind, message) == (
        "server_unavailable",
        "the server has no model 'other'; served_as has to be one of: tiny",
    )


def test_without_log_probabilities_nothing_is_equal_to_the_bit() -> None:
    """Digests of the ids alone would agree whatever the server computes."""
    with vllm("--hide-logprobs") as url, _engine(url) as engine:
        refused = engine.refusal(Method.GENERATE, **CELL, logits=True)
    assert "gave no log-probability of any token" in refused[1]


def test_a_sampler_that_vllm_lacks_is_refused_by_its_name() -> None:
    """VLLM would ignore it without a word."""
    sampling = {"samplers": ["temperature", "xtc"], "xtc_probability": 0.5, "xtc_threshold": 0.1}
    sampling |= {"dynatemp_range": 0, "dynatemp_exponent": 1, "min_keep": 0}
    plain = {"top_k": 0, "top_p": 1, "min_p": 0}
    with vllm() as url, _engine(url) as engine:
        refused = engine.refusal(Method.GENERATE, **(CELL | plain), sampling=sampling)
    assert refused[0] == "bad_request"
    assert "xtc: vLLM cannot be asked for it" in refused[1]


def test_bits_without_log_probabilities_are_refused() -> None:
    """The dialect of others gets texts in the place of ids, and cannot take them for tokens."""
    plain = CELL | {"top_k": 0, "min_p": 0}
    with vllm() as url, closing(DrivenEngine({}, command=ENGINE)) as driven:
        driven.ask(Method.LOAD, **_load(url, dialect="openai"))
        refused = driven.refusal(Method.GENERATE, **plain | {"logits": True})
        answer = driven.ask(Method.GENERATE, **plain | {"trace": True})
    assert refused[0] == "bad_request"
    assert "it cannot be compared to the bit" in refused[1]
    assert "trace" not in answer


@pytest.mark.parametrize(
    ("options", "kind", "named"),
    [
        (("--ignore", "seed"), "bad_request", "seed: the server does not honour it"),
        (
            ("--ignore", "cache_salt", "--enable-prompt-tokens-details"),
            "internal",
            "64 cached tokens though the request was cold",
        ),
    ],
)
def test_no_answer_of_a_server_that_ignores_a_field_counts(
    options: tuple[str, ...], kind: str, named: str
) -> None:
    """Whether a probe or the answer itself shows it."""
    with vllm(*options) as url, _engine(url) as engine:
        # Equal prompts, of which the second could come from the cache.
        engine.send(Method.GENERATE, LONG)
        engine.receive()
        refused = engine.refusal(Method.GENERATE, **LONG)
    assert refused[0] == kind
    assert named in refused[1]
