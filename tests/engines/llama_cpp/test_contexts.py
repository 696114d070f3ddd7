"""Several contexts of one model compute side by side, and each as if it were alone."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.engines.host import usable_cores
from repro_gate.protocol import Method
from tests.fakes.driven_engine import CELL, limited_engine

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import EngineStarter, LoadParams, ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

_PROMPTS = ("The quick brown fox", "Once upon a time", "x", "A longer one, of many words: " * 8)
_REFUSED: Sequence[tuple[Method, Mapping[str, Any]]] = (
    (Method.GENERATE, CELL | {"max_tokens": 100_000}),
    (Method.GENERATE, CELL | {"temperature": 0.0001}),
    (Method.SCORE, {"prompt": "a", "response": [10_000]}),
)


def _requests() -> list[tuple[Method, Mapping[str, Any]]]:
    """Return generations, scores and requests that are refused, mixed."""
    mixed: list[tuple[Method, Mapping[str, Any]]] = []
    for prompt, seed in product(_PROMPTS, range(1, 5)):
        cell = {
            "prompt": prompt,
            "seed": seed,
            "max_tokens": 5 * seed,
            "trace": seed == 1,
            "logits": True,
        }
        mixed.append((Method.GENERATE, CELL | cell))
        mixed.append((Method.SCORE, {"prompt": prompt, "response": list(range(40 * seed))}))
        mixed.append(_REFUSED[seed % len(_REFUSED)])
    return mixed


@pytest.mark.parametrize("name", ["tiny-qwen2", "tiny-phi3"])
def test_neighbours_change_no_bit(
    start_engine: "EngineStarter", tiny_model: "ModelMaker", name: str
) -> None:
    """Tokens, traces, log-probabilities and refusals are those of one context."""
    engine = start_engine()
    answers = []
    for contexts in (1, 2, 4):
        loaded = engine.load(tiny_model(name).path, contexts=contexts, n_ctx=512, n_batch=512)
        assert loaded["concurrency"] == contexts
        answers.append(engine.ask_together(_requests()))
    assert answers[1] == answers[0]
    assert answers[2] == answers[0]
    kinds = [answer.get("kind") for answer in answers[0]]
    assert kinds.count(None) == 32
    assert set(kinds) == {None, "bad_request", "out_of_context"}


def test_a_refusal_gives_its_context_back(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """More refusals than contexts, in each of the ways, leave all contexts usable."""
    fresh_engine.load(tiny_model("tiny-qwen2").path, contexts=2)
    expected = fresh_engine.generate()
    refused = fresh_engine.ask_together([request for request in _REFUSED for _ in range(5)])
    again = fresh_engine.ask_together([(Method.GENERATE, CELL)] * 5)
    assert all(answer.get("kind") for answer in refused)
    assert again == [expected] * 5


def test_contexts_are_no_fact(fresh_engine: "DrivenEngine", tiny_model: "ModelMaker") -> None:
    """They change no token, and the memory in the facts is that of one context."""
    path = tiny_model("tiny-qwen2").path
    one, four = (fresh_engine.load(path, contexts=contexts)["facts"] for contexts in (1, 4))
    assert one == four


def test_by_default_each_context_has_its_cores(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """As many contexts as cores for one thread each; one context if the threads take all cores."""
    path, cores = tiny_model("tiny-qwen2").path, usable_cores()
    found = [fresh_engine.load(path, threads=threads)["concurrency"] for threads in (1, cores, 512)]
    assert found == [min(cores, 16), 1, 1]


def test_the_engine_makes_no_more_contexts_than_the_gate_uses(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker", engine_load_params: "LoadParams"
) -> None:
    """The parameter limits the setting as well as the default."""
    for settings in ({}, {"contexts": 8}):
        params = engine_load_params(tiny_model("tiny-qwen2").path, **settings)
        assert fresh_engine.ask(Method.LOAD, **params, concurrency=1)["concurrency"] == 1


def test_an_explicit_number_must_fit(
    tiny_model: "ModelMaker", engine_load_params: "LoadParams"
) -> None:
    """64 contexts of 64 MiB do not fit in 3 GiB, and the refusal has the number that would."""
    path = tiny_model("tiny-phi3").path
    params = engine_load_params(path, n_ctx=2**16, contexts=64)
    with closing(limited_engine(3 * 2**30)) as engine:
        kind, message = engine.refusal(Method.LOAD, **params)
        assert kind == "device_unavailable"
        before, number = message.removesuffix(" would fit").rsplit(": ", 1)
        assert before == "no memory on CPU for contexts = 64"
        assert 2 <= int(number) < 48
        params["settings"]["contexts"] = int(number) // 2
        assert engine.ask(Method.LOAD, **params)["concurrency"] == int(number) // 2
