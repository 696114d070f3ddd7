"""Real changes: the scores of the tiny models after quantisation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.corpus import TEXT
from benchmarks.simulated_worlds import CELLS, Measured, World
from repro_gate.statistics.permutation import Floats
from tests.fakes.fireworks.weights import Ids, Quantisation, Weights, tiny_weights
from tests.fakes.scoring import TOKENS

_MODELS = ("tiny-qwen2", "tiny-phi3")
_PROMPT = 8
"""Tokens."""
_CANDIDATES = 24
"""First tokens that noise could bring among the five likeliest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    prompt: Ids
    response: Ids
    candidates: Ids


def quantised_models() -> list[Measured]:
    """Return a change for each quantisation, from F32, with half of the cells on each model."""
    questions: dict[str, list[_Question]] = {}
    exact: list[tuple[Floats, Floats]] = []
    for name in _MODELS:
        with tiny_weights(name) as weights:
            questions[name] = _questions(weights, CELLS // len(_MODELS))
            exact.append(_answers(weights, questions[name]))
    changes: list[Measured] = []
    for quantisation in (Quantisation.F16, Quantisation.Q8_0, Quantisation.Q4_0):
        coarse: list[tuple[Floats, Floats]] = []
        for name in _MODELS:
            with tiny_weights(name, quantisation) as weights:
                coarse.append(_answers(weights, questions[name]))
        changes.append(Measured(f"F32 to {quantisation.name}", _world(exact, coarse)))
    return changes


def _world(
    before: Sequence[tuple[Floats, Floats]], after: Sequence[tuple[Floats, Floats]]
) -> World:
    return World(
        before=np.concatenate([responses for responses, _ in before]),
        after=np.concatenate([responses for responses, _ in after]),
        first_before=np.concatenate([firsts for _, firsts in before]),
        first_after=np.concatenate([firsts for _, firsts in after]),
    )


def _questions(weights: Weights, count: int) -> list[_Question]:
    """Return pieces of a text, evenly spread: a prompt and the response that follows it."""
    ids = weights.tokenize(TEXT)
    starts = np.linspace(0, len(ids) - _PROMPT - TOKENS, count).astype(int).tolist()
    return [_question(weights, ids[start : start + _PROMPT + TOKENS]) for start in starts]


def _question(weights: Weights, ids: Ids) -> _Question:
    prompt = ids[:_PROMPT]
    order: list[int] = np.argsort(weights.following(prompt))[-_CANDIDATES:].tolist()
    return _Question(prompt=prompt, response=ids[_PROMPT:], candidates=tuple(order))


def _answers(weights: Weights, questions: Sequence[_Question]) -> tuple[Floats, Floats]:
    """Return the log-probabilities of the responses, and those of what could come first."""
    responses = [_score(weights, one.prompt, one.response) for one in questions]
    firsts = [
        [_score(weights, one.prompt, (token,))[0] for token in one.candidates] for one in questions
    ]
    return np.asarray(responses), np.asarray(firsts)


def _score(weights: Weights, prompt: Ids, response: Ids) -> tuple[float, ...]:
    raw, _ = weights.score(prompt + response, first=len(prompt), temperature=None)
    return raw
