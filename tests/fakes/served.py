"""Servers of models as the served engine asks them: replies by path, without a network."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import httpx

from repro_gate.engines.requests import GenerateRequest
from repro_gate.engines.served.dialects.dialect import Answer, Dialect, Prompt, Step
from repro_gate.engines.served.http import Http

Reply: TypeAlias = Any
"""JSON, a text, or a function of the body of the request that returns one of them."""

CELL = GenerateRequest(
    prompt="hello",
    seed=7,
    max_tokens=4,
    temperature=0.7,
    top_k=40,
    top_p=0.9,
    min_p=0.05,
    trace=True,
)
"""The usual request."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A reply that is an error."""

    status: int
    body: Any = None


@dataclass(slots=True)
class Replies:
    """A server that answers by path, and remembers what it was sent."""

    replies: Mapping[str, Reply]
    bodies: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    authorization: str | None = None
    """Of the last request."""

    def http(self, *, key: str | None = None) -> Http:
        """Return connections to it."""
        return Http("http://server", key=key, transport=httpx.MockTransport(self._answer))

    def last(self, path: str) -> Any:
        """Return the body of the last request for a path."""
        return [body for asked, body in self.bodies if asked == path][-1]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.authorization = request.headers.get("Authorization")
        body = httpx.Response(200, content=request.content).json() if request.content else None
        self.bodies.append((path, body))
        reply = self.replies.get(path, Failure(404, {"error": {"message": "no such path"}}))
        if callable(reply):
            reply = reply(body)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Failure):
            return httpx.Response(reply.status, json=reply.body)
        if isinstance(reply, str | bytes):
            return httpx.Response(200, content=reply)
        return httpx.Response(200, json=reply)


def cell(**changes: Any) -> GenerateRequest:
    """Return the usual request with changes."""
    return replace(CELL, **changes)


class ToyServer(Dialect):
    """A server with a small model of its own, that may ignore some parameters."""

    can_keep_cache = True

    def __init__(self, *ignored: str, sharpness: float = 1.0, shows_cache: bool = True) -> None:
        super().__init__(Replies({}).http(), "toy")
        self._ignored = frozenset(ignored)
        self._sharpness = sharpness
        self._shows_cache = shows_cache
        self._hits = 0
        self._count = 0

    def facts(self) -> dict[str, str]:
        """Return nothing."""
        return {}

    def prompt(self, request: GenerateRequest) -> Prompt:
        """Return a token for each character."""
        return Prompt(ids=tuple(map(ord, request.prompt)))

    def generate(
        self, prompt: Prompt, request: GenerateRequest, *, keep_cache: bool = False
    ) -> Answer:
        """Draw tokens from a distribution that depends on the prompt and the place."""
        request = self._heard(request)
        self._hits += 0 if keep_cache or "cache" not in self._ignored else 16
        text, steps, tokens = "", list[Step](), list[int]()
        while len(tokens) < request.max_tokens:
            token, step = self._draw(prompt, request, len(tokens))
            tokens.append(token)
            steps.append(step)
            text += chr(token)
            found = next((stop for stop in request.stop if stop in text), None)
            if found is not None:
                text = text.partition(found)[0]
                return self._answer(prompt, tokens, steps, text, found)
        return self._answer(prompt, tokens, steps, text, None)

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return a character for each token."""
        return "".join(map(chr, ids))

    def tokenize_plain(self, prompt: str) -> tuple[int, ...]:
        """Return a token for each character."""
        return tuple(map(ord, prompt))

    def running(self) -> int:
        """Return what a server with one request shows."""
        return 1

    def cache_hits(self) -> int:
        """Return how many tokens were reused."""
        return self._hits

    def _heard(self, request: GenerateRequest) -> GenerateRequest:
        """Return the request without what the server ignores."""
        self._count += 1
        plain: dict[str, Any] = {
            "top_k": 0,
            "top_p": 1.0,
            "min_p": 0.0,
            "stop": (),
            "max_tokens": 20,
            "seed": 5,
        }
        plain |= {"temperature": 0.0, "hot": 1.0, "random": self._count}
        given = {name: value for name, value in plain.items() if name in self._ignored}
        renamed = {"hot": "temperature", "random": "seed"}
        return replace(request, **{renamed.get(name, name): value for name, value in given.items()})

    def _draw(self, prompt: Prompt, request: GenerateRequest, place: int) -> tuple[int, Step]:
        weights = random.Random(f"{prompt.ids} {place}")  # noqa: S311 -- no secret
        logits = {token: self._sharpness * weights.gauss() for token in range(97, 123)}
        if request.sampling is not None and "logit_bias" not in self._ignored:
            for biased, bias in request.sampling.value("logit_bias"):
                logits[biased] += bias
        most = max(logits.values())
        total = most + math.log(sum(math.exp(value - most) for value in logits.values()))
        best = sorted(((token, value - total) for token, value in logits.items()), key=_by_value)
        token = best[0][0]
        is_narrowed = request.top_k == 1 or request.top_p < 0.01 or request.min_p == 1
        if request.temperature and not is_narrowed:
            shares = [math.exp(value / request.temperature) for _, value in best]
            draw = random.Random(f"{request.seed} {place}")  # noqa: S311 -- no secret
            token = draw.choices([each for each, _ in best], shares)[0]
        return token, Step(dict(best)[token], tuple(best[:5]))

    def _answer(
        self,
        prompt: Prompt,
        tokens: Sequence[int],
        steps: Sequence[Step],
        text: str,
        found: str | None,
    ) -> Answer:
        return Answer(
            prompt=prompt.ids or (),
            tokens=tuple(tokens),
            steps=tuple(steps),
            end="length" if found is None else "stop_string",
            text=text,
            stop_string=found,
            cached=0 if self._shows_cache else None,
            fingerprint="toy-1",
        )


def _by_value(pair: tuple[int, float]) -> float:
    return -pair[1]
