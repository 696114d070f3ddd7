"""The socket: a server in a thread of its own, on a port that nobody else has."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.fakes.fireworks.bodies import Body, FireworksChat, FireworksCompletion, GenericCompletion
from tests.fakes.fireworks.conduct import Asked, Conduct, Dialect
from tests.fakes.fireworks.effects import Rule
from tests.fakes.fireworks.hosting import HostedModel
from tests.fakes.fireworks.service import Service

_HOST = "127.0.0.1"
_BACKLOG = 2048
_ENDPOINTS: dict[Dialect, dict[str, type[Body]]] = {
    Dialect.FIREWORKS: {"completions": FireworksCompletion, "chat/completions": FireworksChat},
    Dialect.GENERIC: {"completions": GenericCompletion},
}


class Api:
    """The server as its users see it, from any thread."""

    def __init__(self, service: Service, conduct: Conduct, port: int) -> None:
        self._service = service
        self.host = f"http://{_HOST}:{port}"
        self.base_url = self.host + conduct.dialect.value
        """Up to and without `/completions`."""
        self.key = conduct.key or ""
        """The key that lets in; empty when everybody is let in."""

    @property
    def requests(self) -> list[Asked]:
        """What was asked so far, oldest first."""
        return self._service.requests

    def follow(self, *rules: Rule) -> None:
        """Follow these rules from now on, in place of those before, and count from 1."""
        self._service.follow(*rules)


@contextmanager
def serving(
    *models: HostedModel, conduct: Conduct | None = None, rules: Sequence[Rule] = ()
) -> Generator[Api]:
    """Give an API that hosts these models, or one of hashed weights when there are none.

    A mistake of the server itself is raised at the end.
    """
    conduct = conduct or Conduct()
    service = Service(models or (HostedModel(),), conduct=conduct, rules=rules)
    app = _App(service, conduct.dialect)
    # asyncio looks at the protocol, and without it lets answers wait for an acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind((_HOST, 0))
        # From here on whoever connects before the thread runs has to wait a little.
        listener.listen(_BACKLOG)
        server = _Server(app)
        thread = threading.Thread(target=server.run, args=([listener],), name="fireworks")
        thread.start()
        try:
            yield Api(service, conduct, listener.getsockname()[1])
        finally:
            server.end()
            thread.join()
    if app.mistake is not None:
        raise app.mistake


class _Server(uvicorn.Server):
    """uvicorn that ends when it is told to, and at once: a test should not wait for its end."""

    def __init__(self, app: "_App") -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                proxy_headers=False,
                lifespan="off",
                loop="asyncio",
                http="h11",
                ws="none",
                log_config=None,
                log_level="critical",
            )
        )
        self._end: Future[None] = Future()

    async def main_loop(self) -> None:
        """Serve until the end."""
        await self.on_tick(0)
        await asyncio.wrap_future(self._end)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Hang up: whoever still waits for an answer waits in vain."""
        del sockets
        for server in self.servers:
            server.close()
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        for task in tuple(self.server_state.tasks):
            task.cancel()
        await asyncio.sleep(0)

    def end(self) -> None:
        """End soon; may be called from any thread, and before the server runs."""
        self._end.set_result(None)


class _App:
    """The routes; it keeps the first mistake of the server for the test to see."""

    def __init__(self, service: Service, dialect: Dialect) -> None:
        self.mistake: Exception | None = None
        self._app = Starlette(
            routes=[
                Route(f"{dialect.value}/{path}", _endpoint(service, kind), methods=["POST"])
                for path, kind in _ENDPOINTS[dialect].items()
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            # Whoever asked has hung up, which is no mistake of the server.
            raise
        except Exception as error:
            self.mistake = self.mistake or error
            raise


def _endpoint(service: Service, kind: type[Body]) -> Callable[[Request], Awaitable[ASGIApp]]:
    async def endpoint(request: Request) -> ASGIApp:
        return await service.respond(request, kind)

    return endpoint
