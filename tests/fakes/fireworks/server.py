"""The API on a port of the loopback."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.fakes.fireworks.bodies import (
    Body,
    FireworksChat,
    FireworksCompletion,
    GenericChat,
    GenericCompletion,
)
from tests.fakes.fireworks.conduct import Asked, Conduct, Dialect
from tests.fakes.fireworks.effects import Rule
from tests.fakes.fireworks.hosting import HostedModel
from tests.fakes.fireworks.self_hosted import (
    OllamaCompletion,
    OpenAiChat,
    SglangGenerate,
    TgiGenerate,
    TogetherChat,
    TogetherCompletion,
    VllmChat,
    VllmCompletion,
)
from tests.fakes.fireworks.service import Service
from tests.fakes.loopback import HOST, serving_app

_ENDPOINTS: dict[Dialect, dict[str, type[Body]]] = {
    Dialect.FIREWORKS: {"completions": FireworksCompletion, "chat/completions": FireworksChat},
    Dialect.GENERIC: {"completions": GenericCompletion, "chat/completions": GenericChat},
    Dialect.VLLM: {"completions": VllmCompletion, "chat/completions": VllmChat},
    Dialect.SGLANG: {"generate": SglangGenerate, "v1/chat/completions": OpenAiChat},
    Dialect.TOGETHER: {"completions": TogetherCompletion, "chat/completions": TogetherChat},
    Dialect.TGI: {"generate": TgiGenerate, "v1/chat/completions": OpenAiChat},
    Dialect.OLLAMA: {"completions": OllamaCompletion, "chat/completions": OpenAiChat},
}


class Api:
    """The server for tests, from any thread."""

    def __init__(self, service: Service, conduct: Conduct, port: int) -> None:
        self._service = service
        self.host = f"http://{HOST}:{port}"
        self.base_url = self.host + conduct.dialect.value
        """Without `/completions`."""
        self.key = conduct.key or ""
        """The accepted key; empty for an API without keys."""

    @property
    def requests(self) -> list[Asked]:
        """The requests so far, oldest first."""
        return self._service.requests

    def follow(self, *rules: Rule) -> None:
        """Replace the rules, and count from 1."""
        self._service.follow(*rules)


@contextmanager
def serving(
    *models: HostedModel, conduct: Conduct | None = None, rules: Sequence[Rule] = ()
) -> Generator[Api]:
    """Give an API with these models, or by default one with hashed weights.

    A mistake of the server itself is raised at the end.
    """
    conduct = conduct or Conduct()
    service = Service(models or (HostedModel(),), conduct=conduct, rules=rules)
    with serving_app(_app(service, conduct.dialect)) as port:
        yield Api(service, conduct, port)


def _app(service: Service, dialect: Dialect) -> ASGIApp:
    async def models(_: Request) -> JSONResponse:
        owner = dialect.name.lower()
        rows = [{"id": name, "owned_by": owner} for name in service.models]
        return JSONResponse({"object": "list", "data": rows})

    return Starlette(
        routes=[
            Route(f"{dialect.value.removesuffix('/v1')}/v1/models", models),
            *(
                Route(f"{dialect.value}/{path}", _endpoint(service, kind), methods=["POST"])
                for path, kind in _ENDPOINTS[dialect].items()
            ),
        ]
    )


def _endpoint(service: Service, kind: type[Body]) -> Callable[[Request], Awaitable[ASGIApp]]:
    async def endpoint(request: Request) -> ASGIApp:
        return await service.respond(request, kind)

    return endpoint
