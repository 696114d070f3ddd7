"""The calls that we make, until there is an answer to each or all of their time is over."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from repro_gate.adapters.github.client import Call, Client
from repro_gate.adapters.github.replies import document_of, require_success
from repro_gate.adapters.github.retrying import require_time
from repro_gate.adapters.http.client import Reply
from repro_gate.adapters.http.retry import Deadline, Persistence, Runtime
from repro_gate.adapters.http.secret import Secret
from repro_gate.errors import PublishFailed

_ATTEMPT_S = 30.0
_ATTEMPTS = 5
_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 16.0
_PER_PAGE = 100
_MOST_PAGES = 100
_NEXT = re.compile(r"""\brel\s*=\s*["']?[^"';,]*\bnext\b""", re.IGNORECASE)
_Result = TypeVar("_Result")


class Api:
    """One server, asked with one token."""

    def __init__(
        self, client: Client, token: Secret, *, deadline: Deadline, runtime: Runtime
    ) -> None:
        self._client = client
        self._token = token
        self._deadline = deadline
        self._now = runtime.now
        self._persistence = Persistence(
            attempts=_ATTEMPTS,
            first_backoff_s=_FIRST_BACKOFF_S,
            longest_backoff_s=_LONGEST_BACKOFF_S,
            runtime=runtime,
        )

    async def do(self, call: Call) -> None:
        """Make a call that does no harm twice, as often as it takes; raises `PublishFailed`."""
        await self._persisted(call)

    async def read(self, call: Call) -> Any:
        """Make a call that does no harm twice and return its JSON; raises `PublishFailed`."""
        document, _ = await self._read(call)
        return document

    async def read_once(self, call: Call) -> Any:
        """Make a call once and return its JSON; raises `PublishFailed`, and `TryAgain`."""
        return document_of(await self._sent(call))

    async def until_done(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        """Return the first result of attempts that raise `TryAgain`; raises `PublishFailed`."""
        return await self._persistence.until_done(
            attempt, allow=partial(require_time, self._deadline)
        )

    async def pages(self, call: Call) -> AsyncIterator[list[Any]]:
        """Give page after page of a list; raises `PublishFailed`.

        A page that is not full need not be the last: GitHub hides what it takes for spam. The
        address of the next one is never followed, for it may be on another host.
        """
        for number in range(1, _MOST_PAGES + 1):
            query = {**(call.query or {}), "per_page": str(_PER_PAGE), "page": str(number)}
            items, reply = await self._read(replace(call, query=query))
            if not isinstance(items, list):
                raise PublishFailed("GitHub: the answer is no list")
            yield items  # pyright: ignore[reportUnknownVariableType] -- JSON
            says_more = bool(_NEXT.search(reply.headers.get("link", "")))
            if not items or not (says_more or len(items) >= _PER_PAGE):  # pyright: ignore[reportUnknownArgumentType] -- JSON
                return
        raise PublishFailed(f"GitHub: a list of more than {_MOST_PAGES} pages is not read")

    async def _read(self, call: Call) -> tuple[Any, Reply]:
        async def attempt() -> tuple[Any, Reply]:
            reply = await self._sent(call)
            return document_of(reply), reply

        return await self.until_done(attempt)

    async def _persisted(self, call: Call) -> Reply:
        async def attempt() -> Reply:
            return await self._sent(call)

        return await self.until_done(attempt)

    async def _sent(self, call: Call) -> Reply:
        require_time(self._deadline, 0.0, "GitHub: there was no time left to ask")
        timeout_s = min(_ATTEMPT_S, self._deadline.left_s)
        reply = await self._client.send(call, timeout_s=timeout_s)
        require_success(reply, self._token, now=self._now())
        return reply
