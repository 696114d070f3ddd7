"""Servers of models as the served engine asks them: replies by path, without a network."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import httpx

from repro_gate.engines.requests import GenerateRequest
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
