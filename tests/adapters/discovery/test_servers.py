"""Running servers, as their own answers show them; no key is ever sent."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from repro_gate.adapters.discovery.servers import find_servers, server_at
from repro_gate.core.start.machine import RunningServer
from repro_gate.errors import MeasurementUnavailable, UsageInvalid
from repro_gate.server_settings import Dialect
from tests.fakes.fireworks.conduct import Conduct
from tests.fakes.fireworks.conduct import Dialect as FakeDialect
from tests.fakes.fireworks.server import serving
from tests.fakes.loopback import serving_app

Answers: TypeAlias = Mapping[str, Callable[[], Response]]


def _models(owner: str, *names: object) -> Callable[[], Response]:
    rows = [{"id": name, "owned_by": owner} for name in names]
    return lambda: JSONResponse({"object": "list", "data": rows})


@contextmanager
def _answering(answers: Answers, seen: list[Mapping[str, str]]) -> Generator[int]:
    def endpoint(answer: Callable[[], Response]) -> Callable[[Request], Response]:
        def respond(request: Request) -> Response:
            seen.append(dict(request.headers))
            return answer()

        return respond

    routes = [
        Route(path, endpoint(answer), methods=["GET", "POST"]) for path, answer in answers.items()
    ]
    with serving_app(Starlette(routes=routes)) as port:
        yield port


def _found(answers: Answers) -> RunningServer:
    seen: list[Mapping[str, str]] = []
    with _answering(answers, seen) as port:
        found = server_at(f"http://127.0.0.1:{port}/v1/")
        assert (found.url, *find_servers([port])) == (f"http://127.0.0.1:{port}", found)
    assert seen
    assert not any("authorization" in headers for headers in seen)
    return found


def test_a_llama_server_shows_its_file_and_its_slots(tmp_path: Path) -> None:
    """A file of another machine is not taken for one of this."""
    file = tmp_path / "m.gguf"
    file.touch()
    props: dict[str, Any] = {
        "chat_template": "{{ messages }}",
        "model_path": str(file),
        "total_slots": 4,
        "default_generation_settings": {"n_ctx": 2048},
    }
    answers = {"/v1/models": _models("llamacpp", "m"), "/props": lambda: JSONResponse(props)}

    found = _found(answers)

    assert (found.software, found.dialect) == ("llama-server", Dialect.LLAMA_SERVER)
    assert (found.models, found.has_chat) == (("m",), True)
    assert (found.model_file, found.slots, found.context) == (file, 4, 2048)
    props["model_path"] = "models/m.gguf"
    assert _found(answers).model_file is None


@pytest.mark.parametrize("props", [None, [], {"total_slots": "4", "model_path": "/no\n"}])
def test_a_llama_server_without_details_is_found(props: object) -> None:
    """An older one, or a proxy before it."""
    found = _found({"/v1/models": _models("llamacpp", "m"), "/props": lambda: JSONResponse(props)})

    details = (found.model_file, found.slots, found.context)
    assert (found.has_chat, details) == (False, (None, None, None))


@pytest.mark.parametrize(("status", "has_chat"), [(200, True), (400, False)])
def test_a_vllm_renders_chats_if_its_model_has_a_template(status: int, has_chat: bool) -> None:  # noqa: FBT001
    """One request shows it, which generates nothing."""
    tokenized = {"tokens": [1], "count": 1}
    found = _found(
        {
            "/v1/models": _models("vllm", "m"),
            "/tokenize": lambda: JSONResponse(tokenized, status_code=status),
        }
    )

    assert (found.software, found.dialect, found.has_chat) == ("vLLM", Dialect.VLLM, has_chat)


@pytest.mark.parametrize(
    ("owner", "software", "dialect"),
    [
        ("sglang", "SGLang", Dialect.SGLANG),
        ("library", "Ollama", None),
        ("organization_owner", "LM Studio", None),
        ("somebody", "a server with the API of OpenAI", None),
    ],
)
def test_a_server_is_known_by_its_list(owner: str, software: str, dialect: Dialect | None) -> None:
    """Of the others, tokens cannot be had."""
    found = _found({"/v1/models": _models(owner, "a", "b\x1b[31m", 7, " ")})

    assert (found.software, found.dialect, found.models) == (software, dialect, ("a",))


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_a_key_is_found_without_one(status: int) -> None:
    """Its models stay unknown."""
    found = _found({"/v1/models": lambda: Response(status_code=status)})

    assert (found.wants_key, found.models) == (True, ())


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Response("<html>", 200),
        lambda: JSONResponse({"data": []}),
        lambda: JSONResponse([{"id": "m"}]),
        lambda: Response(status_code=500),
        lambda: RedirectResponse("http://127.0.0.1:9/v1/models"),
        lambda: Response(b"[" * 100_000, media_type="application/json"),
    ],
    ids=["page", "no model", "a list", "an error", "a redirect", "nested"],
)
def test_what_lists_no_models_is_no_server(answer: Callable[[], Response]) -> None:
    """A named one is refused, another one is passed over."""
    with _answering({"/v1/models": answer}, []) as port:
        assert find_servers([port]) == ()
        with pytest.raises(MeasurementUnavailable, match="no list of models at"):
            server_at(f"http://127.0.0.1:{port}")


def test_nobody_on_a_port_is_no_server() -> None:
    """The ports are asked together."""
    assert find_servers([9, 7]) == ()


def test_the_imitations_of_servers_are_recognised() -> None:
    """Their address has a path."""
    with serving(conduct=Conduct(dialect=FakeDialect.VLLM)) as api:
        assert server_at(api.base_url).dialect is Dialect.VLLM


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1",
        "http://",
        "http://user:password@127.0.0.1",
        "http://127.0.0.1:99999999",
        "http://127.0.0.1/?key=secret",
        "http://127.0.0.1/#x",
        "http://127.0.0.1/\x1b",
        "http://127.0.0.1/a b",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(UsageInvalid, match="SOURCE has the form") as caught:
        server_at(url)

    assert f"{url} " not in f"{caught.value} "
