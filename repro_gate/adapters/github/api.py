"""The GitHub API: requests with one token, retried until they succeed or time is up."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import httpx

from repro_gate.adapters.github.failures import AGAIN, document_of, require_success
from repro_gate.adapters.http.client import Client, Reply, Request, Server
from repro_gate.adapters.http.retry import Deadline, RetryPolicy, Runtime
from repro_gate.adapters.http.secret import Secret
from repro_gate.errors import PublishFailed

_ATTEMPT_S = 30.0
_ATTEMPTS = 5
_FIRST_BACKOFF_S = 1.0
_MAX_BACKOFF_S = 16.0
_PER_PAGE = 100
_MAX_PAGES = 100
_MAX_BYTES = 1 << 26
"""A page of a hundred of the longest comments is smaller."""
_NEXT = re.compile(r"""\brel\s*=\s*["']?[^"';,]*\bnext\b""", re.IGNORECASE)
_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": "2022-11-28",
}
_GRAPHQL = "/graphql"
_ENTERPRISE = "/v3"
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the API."""

    method: str
    path: str
    """Relative to the API's address."""
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None


@asynccontextmanager
async def open_api(
    url: httpx.URL, token: Secret, runtime: Runtime, *, deadline: Deadline
) -> AsyncGenerator["Api"]:
    """Give an API that is closed at the end; raises `HttpFailure`."""
    server = Server(
        name="GitHub",
        secret=token,
        max_bytes=_MAX_BYTES,
        if_slow=AGAIN,
        if_unreachable="check GITHUB_API_URL, and the network and the proxy of the runner",
        if_unreadable="check GITHUB_API_URL and what is in front of the server",
        if_moved="if the repository was renamed or moved, run the job again under its new name",
    )
    async with aclosing(Client(server, url, runtime)) as client:
        yield Api(client, url, token, runtime, deadline=deadline)


class Api:
    """One server, asked with one token; every method raises `HttpFailure`."""

    def __init__(
        self, client: Client, url: httpx.URL, token: Secret, runtime: Runtime, *, deadline: Deadline
    ) -> None:
        self._client = client
        self._url = url
        self._token = token
        self._now = runtime.now
        self._deadline = deadline
        self._retries = RetryPolicy(
            attempts=_ATTEMPTS,
            first_backoff_s=_FIRST_BACKOFF_S,
            max_backoff_s=_MAX_BACKOFF_S,
            deadline=deadline,
            runtime=runtime,
        )

    async def do(self, call: Call) -> None:
        """Make an idempotent call, with retries."""
        await self.until_done(lambda: self._send(call))

    async def read(self, call: Call) -> Any:
        """Make an idempotent call, with retries, and return its JSON."""
        document, _ = await self._read(call)
        return document

    async def read_once(self, call: Call) -> Any:
        """Make a call once and return its JSON."""
        return document_of(await self._send(call))

    async def until_done(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        """Repeat an attempt while it fails for a transient reason."""
        return await self._retries.run(attempt)

    async def pages(self, call: Call) -> AsyncIterator[list[Any]]:
        """Give page after page of a list; raises `PublishFailed` for what is not one.

        A page that is not full need not be the last: GitHub hides what it takes for spam. The
        address of the next one is never followed, as it may be on another host.
        """
        for number in range(1, _MAX_PAGES + 1):
            query = {**(call.query or {}), "per_page": str(_PER_PAGE), "page": str(number)}
            items, reply = await self._read(replace(call, query=query))
            if not isinstance(items, list):
                raise PublishFailed("GitHub: the answer is not a list")
            yield items  # pyright: ignore[reportUnknownVariableType] -- JSON
            has_next = bool(_NEXT.search(reply.headers.get("link", "")))
            if not items or not (has_next or len(items) >= _PER_PAGE):  # pyright: ignore[reportUnknownArgumentType] -- JSON
                return
        raise PublishFailed(f"GitHub: a list of more than {_MAX_PAGES} pages is not read")

    async def _read(self, call: Call) -> tuple[Any, Reply]:
        async def attempt() -> tuple[Any, Reply]:
            reply = await self._send(call)
            return document_of(reply), reply

        return await self.until_done(attempt)

    async def _send(self, call: Call) -> Reply:
        self._deadline.require()
        request = Request(
            method=call.method,
            url=self._address_of(call),
            query=call.query,
            headers=_HEADERS,
            body=call.body,
        )
        timeout_s = min(_ATTEMPT_S, self._deadline.left_s)
        reply = await self._client.send(request, timeout_s=timeout_s)
        require_success(reply, self._token, now=self._now())
        return reply

    def _address_of(self, call: Call) -> httpx.URL:
        path = self._url.path.rstrip("/")
        if call.path == _GRAPHQL:
            # An Enterprise Server has GraphQL beside the versions of REST.
            path = path.removesuffix(_ENTERPRISE)
        return self._url.copy_with(path=path + call.path)
