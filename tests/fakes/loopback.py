"""Applications on the loopback: each in its own thread, on a free port."""

import asyncio
import socket
import threading
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager

import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

HOST = "127.0.0.1"
_BACKLOG = 2048


@contextmanager
def serving_app(app: ASGIApp, *, port: int = 0) -> Generator[int]:
    """Give the port on which an application is served.

    A mistake of the application itself is raised at the end.
    """
    watched = _Watched(app)
    # asyncio checks the protocol number, and otherwise leaves Nagle's algorithm on.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind((HOST, port))
        # A client that connects before the thread runs has to wait.
        listener.listen(_BACKLOG)
        server = _Server(watched)
        thread = threading.Thread(target=server.run, args=([listener],), name="loopback")
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.end()
            thread.join()
    if watched.mistake is not None:
        raise watched.mistake


class _Server(uvicorn.Server):
    """uvicorn that ends at once on request, so that tests do not wait for it."""

    def __init__(self, app: ASGIApp) -> None:
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
        """Serve until it is stopped."""
        await self.on_tick(0)
        await asyncio.wrap_future(self._end)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections, without finishing any answer."""
        del sockets
        for server in self.servers:
            server.close()
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        for task in tuple(self.server_state.tasks):
            task.cancel()
        await asyncio.sleep(0)

    def end(self) -> None:
        """Stop the server; may be called from any thread, and before the server runs."""
        self._end.set_result(None)


class _Watched:
    """Keeps the first exception of an application for the test."""

    def __init__(self, app: ASGIApp) -> None:
        self.mistake: Exception | None = None
        self._app = app

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
