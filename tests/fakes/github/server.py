"""The API on a port of the loopback, at the root or, as on an Enterprise Server, on a path."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.fakes.github.control import control
from tests.fakes.github.service import Service
from tests.fakes.github.world import World
from tests.fakes.loopback import HOST, serving_app

CONTROL = "/_state"
_GRAPHQL = "/graphql"


@dataclass(frozen=True, slots=True, kw_only=True)
class Github:
    """The server for tests."""

    world: World
    port: int
    path: str = ""

    @property
    def server_url(self) -> str:
        """The address of the web pages."""
        return f"http://{HOST}:{self.port}"

    @property
    def api_url(self) -> str:
        """The address of the API."""
        return f"{self.server_url}{self.path}"


@contextmanager
def serving(world: World | None = None, *, path: str = "", port: int = 0) -> Generator[Github]:
    """Give a GitHub with this world; `path` is the root of the API, such as `/api/v3`."""
    world = world or World()
    with serving_app(_app(world, path), port=port) as bound:
        yield Github(world=world, port=bound, path=path)


def _app(world: World, path: str) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        host = request.headers.get("host", HOST)
        service = Service(world, api_url=f"http://{host}{path}", server_url=f"http://{host}")
        response = await service.respond(request, _within(scope["path"], path))
        await response(scope, receive, send)

    async def state(request: Request) -> ASGIApp:
        return await control(request, world)

    routes = [Route(CONTROL, state, methods=["GET", "POST"])]
    inner = Starlette(routes=routes)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (inner if scope["path"] == CONTROL else answer)(scope, receive, send)

    return app


def _within(asked: str, path: str) -> str:
    """Return a path relative to the API; a path outside of it is empty."""
    # An Enterprise Server has GraphQL next to the versions of REST, not below one.
    beside = f"{path.removesuffix('/v3')}{_GRAPHQL}"
    if asked == beside:
        return _GRAPHQL
    within = asked.removeprefix(path) if asked.startswith(f"{path}/") else ""
    return "" if within == _GRAPHQL else within
