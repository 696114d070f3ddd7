"""Hosted models, and their answers without any fault."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from repro_gate.core.tokens.generation import Token
from repro_gate.errors import MeasurementUnavailable
from tests.fakes.fireworks.answers import Answer, Row
from tests.fakes.fireworks.bodies import WHOLE_PROMPT, ApiError, Question
from tests.fakes.fireworks.noise import Exact, Noise
from tests.fakes.fireworks.weights import CONTEXT, HashedWeights, Ids, Weights

MODEL = "accounts/fireworks/models/tiny"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedModel:
    """A model with its requested name."""

    name: str = MODEL
    weights: Weights = field(default_factory=HashedWeights)
    noise: Noise = field(default_factory=Exact)
    context: int = CONTEXT


class FirstPosition(Enum):
    """The value for the first token of a prompt, which has no condition."""

    AS_THE_SHAPE_HAS_IT = "as the shape has it"
    """A number in the new format, null in the legacy one."""
    NUMBER = "number"
    NULL = "null"


def answer_to(question: Question, weights: Weights, context: int) -> Answer:
    """Return the result of the weights.

    Raises:
        ApiError: the question does not fit in the context, or has tokens that the model lacks.
    """
    prompt = _prompt(question, weights)
    if len(prompt) + question.max_tokens > context:
        if not question.is_truncated:
            raise ApiError(
                400,
                f"The prompt is too long: {len(prompt)}, model maximum context length: {context}",
            )
        prompt = prompt[-context:]
    limit = min(question.max_tokens, context - len(prompt))
    generated = _generated(prompt, limit, question, weights)
    return Answer(
        prompt=tuple(weights.vocabulary[id] for id in prompt),
        echoed=_echoed(prompt, question, weights),
        generated=generated,
    )


def _prompt(question: Question, weights: Weights) -> Ids:
    try:
        prompt = question.prompt
        ids = weights.tokenize(prompt) if isinstance(prompt, str) else prompt
    except MeasurementUnavailable as error:
        raise ApiError(400, f"The prompt cannot be tokenized: {error}") from error
    if not ids:
        raise ApiError(400, "The prompt must not be empty, field: 'prompt'")
    unknown = [id for id in ids if not 0 <= id < len(weights.vocabulary)]
    if unknown:
        raise ApiError(400, f"The vocabulary has no token {unknown[0]}, field: 'prompt'")
    return ids


def _echoed(ids: Ids, question: Question, weights: Weights) -> tuple[Row, ...]:
    count = len(ids) if question.echo == WHOLE_PROMPT else min(question.echo, len(ids))
    start = len(ids) - count
    first = max(1, start)
    if count == 0:
        return ()
    raw, sampling = (
        weights.score(ids, first=first, temperature=question.temperature)
        if first < len(ids)
        else ((), ())
    )
    rows = [
        Row(
            token=weights.vocabulary[ids[place]],
            logprob=logprob,
            sampling=sampling[place - first] if sampling else None,
            top=_instead(ids[:place], question, weights),
        )
        for place, logprob in enumerate(raw, start=first)
    ]
    return (*_unconditional(ids, start, question, weights), *rows)


def _instead(ids: Ids, question: Question, weights: Weights) -> tuple[tuple[Token, float], ...]:
    """Return the alternatives of an echoed token, if they are known."""
    if question.top == 0 or not weights.is_quick:
        return ()
    return _top(weights.following(ids), question.top, weights)


def _unconditional(ids: Ids, start: int, question: Question, weights: Weights) -> tuple[Row, ...]:
    """Return the row of the first token of an echo."""
    if start > 0:
        return ()
    flat = -math.log(len(weights.vocabulary))
    sampling = None if question.temperature is None else flat
    token = weights.vocabulary[ids[0]]
    return (Row(token=token, logprob=flat, sampling=sampling, is_first=True),)


def _generated(ids: Ids, limit: int, question: Question, weights: Weights) -> tuple[Row, ...]:
    rows: list[Row] = []
    for _ in range(limit):
        logprobs = weights.following(ids)
        ((token, logprob),) = _top(logprobs, 1, weights)
        sampling = _at(question.temperature, logprobs, token.id)
        top = _top(logprobs, question.top, weights)
        rows.append(Row(token=token, logprob=logprob, sampling=sampling, top=top))
        ids = (*ids, token.id)
    return tuple(rows)


def _top(
    logprobs: Sequence[float], count: int, weights: Weights
) -> tuple[tuple[Token, float], ...]:
    best = sorted(range(len(logprobs)), key=lambda id: (-logprobs[id], id))[:count]
    return tuple((weights.vocabulary[id], logprobs[id]) for id in best)


def _at(temperature: float | None, logprobs: Sequence[float], id: int) -> float | None:
    if temperature is None:
        return None
    scaled = [logprob / temperature for logprob in logprobs]
    highest = max(scaled)
    return scaled[id] - highest - math.log(math.fsum(math.exp(x - highest) for x in scaled))
