"""A server that ignores a parameter is found out before any answer counts."""

from dataclasses import replace

import pytest

from repro_gate.engines.requests import GenerateRequest
from repro_gate.engines.served.dialects.dialect import Answer, Prompt
from repro_gate.engines.served.honoured import probe
from repro_gate.engines.served.http import HttpRefused
from repro_gate.protocol import Refusal, RequestRefused
from repro_gate.samplers import Sampling
from tests.fakes.served import CELL, ToyServer, cell

BIASED = Sampling.parse({"logit_bias": [[5, 1.0]]})
GREEDY = cell(temperature=0, top_k=0, top_p=1, min_p=0)


def test_a_server_that_honours_all_has_neither_problems_nor_notes() -> None:
    """And its fingerprint is known from the first answer."""
    server = ToyServer()
    found = probe(server)
    assert (found.problems, found.notes(), found.fingerprint) == ({}, [], "toy-1")
    found.require(cell(stop=("x",)))


@pytest.mark.parametrize(
    ("ignored", "named"),
    [
        ("seed", "seed: the server does not honour it: 4 seeds give the same answer"),
        ("random", "seed: the server does not honour it: 4 answers to one seed all differ"),
        ("temperature", "temperature: .* at 2, it takes the likeliest token each time"),
        ("hot", "temperature: .* at 0, it draws other than the likeliest tokens"),
        ("top_k", "top_k: .* 1 does not leave only the likeliest token"),
        ("top_p", "top_p: .* 0.001 does not leave only the likeliest token"),
        ("min_p", "min_p: .* 1 does not leave only the likeliest token"),
        ("max_tokens", "max_tokens: .* 3 gave 20 tokens"),
        ("stop", "stop: .* did not end an answer that had it"),
        ("logit_bias", "logit_bias: .* 100 does not bring a token to the front"),
    ],
)
def test_an_ignored_parameter_is_named(ignored: str, named: str) -> None:
    """Only requests with it are refused."""
    server = ToyServer(ignored)
    found = probe(server)
    with pytest.raises(RequestRefused, match=named) as caught:
        found.require(cell(stop=("x",), sampling=BIASED))
    assert caught.value.kind is Refusal.BAD_REQUEST


def test_a_parameter_that_no_request_uses_is_no_matter() -> None:
    """The seed of a greedy run, for example."""
    for ignored in ("seed", "top_k", "top_p", "min_p", "stop", "logit_bias"):
        server = ToyServer(ignored)
        probe(server).require(GREEDY)


def test_a_cold_request_that_uses_the_cache_is_refused() -> None:
    """Where answers do not show it, the metrics do."""
    server = ToyServer("cache", shows_cache=False)
    with pytest.raises(RequestRefused, match=r"cache: .* a cold request used 16 cached tokens"):
        probe(server).require(CELL)
    other = ToyServer(shows_cache=False)
    probe(other).require(CELL)


def test_a_sharp_model_leaves_parameters_open() -> None:
    """It draws the same token at any temperature, which is a note and no refusal."""
    server = ToyServer(sharpness=10_000)
    found = probe(server)
    assert found.problems == {}
    assert "temperature, seed, top_k, top_p, min_p" in found.notes()[0]
    found.require(CELL)


class _WithoutLogprobs(ToyServer):
    """A server that shows no log-probabilities."""

    def generate(
        self, prompt: Prompt, request: GenerateRequest, *, keep_cache: bool = False
    ) -> Answer:
        """Leave them out."""
        found = super().generate(prompt, request, keep_cache=keep_cache)
        return replace(found, steps=(None,) * len(found.tokens))


def test_nothing_is_shown_without_log_probabilities() -> None:
    """That a parameter leaves only the likeliest token cannot be seen, which is a note."""
    found = probe(_WithoutLogprobs("top_k"))
    assert found.problems == {}
    assert "top_k, top_p, min_p: the model answers alike" in found.notes()[0]


class _Lucky(ToyServer):
    """A server whose second seed draws the same tokens as the first by chance."""

    def generate(
        self, prompt: Prompt, request: GenerateRequest, *, keep_cache: bool = False
    ) -> Answer:
        """Draw with another seed."""
        same = replace(request, seed=1) if request.seed == 2 else request
        return super().generate(prompt, same, keep_cache=keep_cache)


def test_two_equal_seeds_may_be_chance() -> None:
    """A third one decides."""
    assert probe(_Lucky()).problems == {}


class _Refusing(ToyServer):
    """A server that refuses draws."""

    def __init__(self, kind: Refusal) -> None:
        super().__init__()
        self._kind = kind

    def generate(
        self, prompt: Prompt, request: GenerateRequest, *, keep_cache: bool = False
    ) -> Answer:
        """Refuse a stop string."""
        if request.stop:
            raise HttpRefused(self._kind, "no", status=400)
        return super().generate(prompt, request, keep_cache=keep_cache)


@pytest.mark.parametrize(
    ("kind", "problems"),
    [(Refusal.BAD_REQUEST, {"stop": "no"}), (Refusal.OUT_OF_CONTEXT, {})],
)
def test_a_parameter_that_the_server_refuses(kind: Refusal, problems: dict[str, str]) -> None:
    """It is not honoured, but a context that is too short for the request shows nothing."""
    assert probe(_Refusing(kind)).problems == problems


def test_a_failure_of_the_server_is_none_of_a_parameter() -> None:
    """The load is refused."""
    with pytest.raises(HttpRefused):
        probe(_Refusing(Refusal.INTERNAL))
