"""The connections to GitHub, and where its API is."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from repro_gate.adapters.github.retrying import TryAgain
from repro_gate.adapters.http.client import (
    CallFailed,
    ConnectionImpossible,
    Connections,
    Reply,
    Request,
    connect,
    may_hear_a_key,
)
from repro_gate.adapters.http.retry import Runtime
from repro_gate.adapters.http.secret import Secret
from repro_gate.errors import PublishFailed

_MOST_BYTES = 1 << 26
"""A page of a hundred of the longest comments is smaller."""
_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": "2022-11-28",
}
_GRAPHQL = "/graphql"
_ENTERPRISE = "/v3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the API."""

    method: str
    path: str
    """Without what all paths of the server begin with."""
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None


@asynccontextmanager
async def connected(url: httpx.URL, token: Secret, runtime: Runtime) -> AsyncGenerator["Client"]:
    """Give a client, and let go of its connections at the end.

    Raises:
        PublishFailed: the environment does not let us connect to anyone.
    """
    try:
        http = connect(url, runtime)
    except ConnectionImpossible as error:
        raise PublishFailed(f"GitHub: {error.reason}", remedy=error.remedy) from error
    async with http:
        yield Client(url, Connections(token, http, most_bytes=_MOST_BYTES))


class Client:
    """Connections to one server."""

    def __init__(self, url: httpx.URL, connections: Connections) -> None:
        self._url = url
        self._connections = connections

    async def send(self, call: Call, *, timeout_s: float) -> Reply:
        """Make a call and return what came back, whatever its status.

        Raises:
            TryAgain: nothing came back, or not all of it, or not in time.
            PublishFailed: what came back is not to be read.
        """
        request = Request(
            method=call.method,
            url=self._address_of(call),
            query=call.query,
            headers=_HEADERS,
            body=call.body,
        )
        try:
            return await self._connections.send(request, timeout_s=timeout_s)
        except CallFailed as error:
            reason = f"GitHub: {error.reason}"
            if error.is_passing:
                raise TryAgain(reason, may_be_done=error.may_be_done) from error
            raise PublishFailed(reason) from error

    def _address_of(self, call: Call) -> httpx.URL:
        beginning = self._url.path.rstrip("/")
        if call.path == _GRAPHQL:
            # An Enterprise Server has GraphQL beside the versions of REST.
            beginning = beginning.removesuffix(_ENTERPRISE)
        return self._url.copy_with(path=beginning + call.path)


def address_of(api_url: str) -> httpx.URL:
    """Return where the API begins; raises `PublishFailed` when no token may be sent there."""
    remedy = "look at GITHUB_API_URL"
    try:
        url = httpx.URL(api_url)
    except httpx.InvalidURL as error:
        raise PublishFailed("the address of the API is no URL", remedy=remedy) from error
    if url.userinfo or url.query or url.fragment:
        raise PublishFailed("the address of the API is more than a host and a path", remedy=remedy)
    if not may_hear_a_key(url):
        raise PublishFailed(
            "the address of the API is neither https:// nor on this machine, "
            "and no token is sent there",
            remedy=remedy,
        )
    return url
