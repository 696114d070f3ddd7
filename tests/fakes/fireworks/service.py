"""The service without its socket: the answer to each request."""

import asyncio
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from tests.fakes.fireworks import headers
from tests.fakes.fireworks.answers import Answer, body_of, generic_body
from tests.fakes.fireworks.bodies import ApiError, Ask, Body, Question, read_body
from tests.fakes.fireworks.conduct import Asked, Conduct, Dialect
from tests.fakes.fireworks.draws import drawn_answer
from tests.fakes.fireworks.effects import (
    CutOff,
    Effect,
    Fail,
    Head,
    OnBody,
    Rule,
    Rulebook,
    Say,
    Swap,
    Wait,
)
from tests.fakes.fireworks.hosting import HostedModel, answer_to
from tests.fakes.fireworks.noise import dice_for
from tests.fakes.fireworks.self_hosted import (
    ollama_body,
    sglang_body,
    tgi_body,
    together_body,
    vllm_body,
)
from tests.fakes.fireworks.weights import Weights
from tests.fakes.fireworks.wire import CutResponse, error_body, json_response, raw_response

_KNOWN_ANSWERS = 20_000
_BODIES = {
    Dialect.FIREWORKS: body_of,
    Dialect.GENERIC: generic_body,
    Dialect.VLLM: vllm_body,
    Dialect.SGLANG: sglang_body,
    Dialect.TOGETHER: together_body,
    Dialect.TGI: tgi_body,
    Dialect.OLLAMA: ollama_body,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A request in progress."""

    number: int
    """Counted from 1."""
    started: float
    headers: dict[str, str]
    """The headers of every answer to it."""


class Service:
    """Answers requests; only `requests` and `follow` may be used from other threads."""

    def __init__(
        self, models: Sequence[HostedModel], *, conduct: Conduct, rules: Sequence[Rule]
    ) -> None:
        self._models = {model.name: model for model in models}
        self._conduct = conduct
        self._book = Rulebook(tuple(rules))
        self._asked: deque[Asked] = deque(maxlen=conduct.remembers)
        self._remembering = threading.Lock()
        self._calls = 0
        self._limit = headers.Limit(conduct.requests_per_minute, now=time.perf_counter())
        self._draws: Counter[tuple[str, str | tuple[int, ...]]] = Counter()
        self._known: dict[tuple[Question, Weights, int], Answer] = {}
        self._scoring = asyncio.Lock()

    @property
    def models(self) -> Sequence[str]:
        """The names of the models."""
        return tuple(self._models)

    @property
    def requests(self) -> list[Asked]:
        """The requests so far, oldest first."""
        with self._remembering:
            return list(self._asked)

    def follow(self, *rules: Rule) -> None:
        """Replace the rules, and count from 1."""
        self._book = Rulebook(rules)

    async def respond(self, request: Request, kind: type[Body]) -> ASGIApp:
        """Return the response to a request."""
        call = self._begun(request)
        asked = _asked(request, await request.body(), key=self._conduct.key)
        with self._remembering:
            self._asked.append(asked)
        try:
            response = await self._answered(self._read(asked, kind), call)
        except ApiError as error:
            body = error_body(
                error.status, str(error), param=error.param, dialect=self._conduct.dialect
            )
            response = json_response(body, headers=call.headers, status=error.status)
        await asyncio.sleep(self._conduct.latency_s - (time.perf_counter() - call.started))
        return response

    def _begun(self, request: Request) -> _Call:
        started = time.perf_counter()
        self._calls += 1
        self._limit.take(now=started)
        named = headers.naming_headers(request.headers, number=self._calls) | self._limit.headers
        if self._conduct.dialect is not Dialect.FIREWORKS:
            named = {"x-request-id": named["x-request-id"]}
        return _Call(number=self._calls, started=started, headers=named)

    async def _answered(self, ask: Ask, call: _Call) -> ASGIApp:
        model = self._model_of(ask)
        effects = self._book.strike(model.name, _text_of(ask.question, model.weights))
        await asyncio.sleep(sum(x.seconds for x in effects if isinstance(x, Wait)))
        for effect in effects:
            if isinstance(effect, Fail | Say):
                return self._replaced(effect, call)
        response = await self._measured(ask, _behind(model, effects), effects, call)
        for effect in effects:
            if isinstance(effect, Head):
                response.headers.update(effect.headers)
        for effect in effects:
            if isinstance(effect, CutOff):
                return CutResponse(response, effect.after)
        return response

    def _read(self, asked: Asked, kind: type[Body]) -> Ask:
        if not asked.is_authorized:
            raise ApiError(401, "The API key you provided is invalid.")
        if self._limit.is_over:
            raise ApiError(429, "Request limit exceeded, please try again later.")
        return read_body(kind, asked.body)

    def _model_of(self, ask: Ask) -> HostedModel:
        is_unnamed = self._conduct.dialect in {Dialect.SGLANG, Dialect.TGI}
        model = next(iter(self._models.values())) if is_unnamed else self._models.get(ask.model)
        if model is None:
            message = "Model not found, inaccessible, and/or not deployed"
            raise ApiError(404, message, param="model")
        if ask.question.max_tokens == 0 and not self._conduct.allows_no_tokens:
            raise ApiError(400, "Input should be at least 1, field: 'max_tokens', value: 0")
        return model

    def _replaced(self, effect: Fail | Say, call: _Call) -> Response:
        named = {**call.headers, **effect.headers}
        if isinstance(effect, Say):
            return raw_response(effect.body, headers=named, status=effect.status)
        body = error_body(effect.status, effect.message, dialect=self._conduct.dialect)
        return json_response(body, headers=named, status=effect.status)

    async def _measured(
        self, ask: Ask, model: HostedModel, effects: Sequence[Effect], call: _Call
    ) -> Response:
        answer = await self._scored(ask.question, model)
        item = (model.name, ask.question.prompt)
        self._draws[item] += 1
        draw = self._draws[item]
        answer = drawn_answer(
            answer,
            first=self._conduct.first_position,
            shape=ask.shape,
            noise=(model.noise, dice_for(self._conduct.seed, *item, draw)),
            effects=effects,
        )
        # Asked again, everything but the last token is there already.
        cached = 0 if draw == 1 or ask.is_cold else len(answer.prompt) - 1
        measured = headers.metrics(
            prompt=len(answer.prompt), cached=cached, seconds=time.perf_counter() - call.started
        )
        body = _BODIES[self._conduct.dialect](answer, ask, number=call.number, cached=cached)
        named = call.headers
        if self._conduct.dialect is Dialect.FIREWORKS:
            named = {**named, **headers.metric_headers(measured)}
            body |= {"perf_metrics": measured} if ask.wants_metrics else {}
        for effect in effects:
            if isinstance(effect, OnBody):
                effect.apply(body)
        return json_response(body, headers=named)

    async def _scored(self, question: Question, model: HostedModel) -> Answer:
        key = (question, model.weights, model.context)
        if key not in self._known:
            # Away from the loop, which has other requests to answer; one at a time.
            async with self._scoring:
                if key not in self._known:
                    if len(self._known) >= _KNOWN_ANSWERS:
                        self._known.clear()
                    self._known[key] = await asyncio.to_thread(answer_to, *key)
        return self._known[key]


def _asked(request: Request, data: bytes, *, key: str | None) -> Asked:
    try:
        body: Any = json.loads(data)
    except ValueError:
        body = None
    borne = request.headers.get("authorization")
    return Asked(
        path=request.url.path,
        is_authorized=key is None or borne == f"Bearer {key}",
        headers={name: value for name, value in request.headers.items() if name != "authorization"},
        body=body,
    )


def _behind(model: HostedModel, effects: Sequence[Effect]) -> HostedModel:
    """Return the model that is currently behind a name."""
    for effect in effects:
        if isinstance(effect, Swap):
            model = replace(
                model, weights=effect.weights or model.weights, noise=effect.noise or model.noise
            )
    return model


def _text_of(question: Question, weights: Weights) -> str:
    """Return the text that rules match."""
    if isinstance(question.prompt, str):
        return question.prompt
    known = range(len(weights.vocabulary))
    data = b"".join(weights.vocabulary[id].spelled for id in question.prompt if id in known)
    return data.decode("utf-8", errors="replace")
