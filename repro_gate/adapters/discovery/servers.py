"""Finds running servers of models: short requests to a few ports, without any key."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from repro_gate.adapters.files.parsing import Limits, json_of
from repro_gate.adapters.http.client import Client, Reply, Request, Server
from repro_gate.adapters.http.retry import HttpFailure, Runtime
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.logprobs.policy import is_loopback
from repro_gate.core.start.machine import RunningServer
from repro_gate.errors import InputInvalid, MeasurementUnavailable, UsageInvalid
from repro_gate.server_settings import Dialect
from repro_gate.strict_json import items_at, value_at

PORTS: Final[Mapping[int, str]] = {
    8080: "llama-server",
    8000: "vLLM",
    30000: "SGLang",
    11434: "Ollama",
    1234: "LM Studio",
}
"""The usual ports, and what is usually there."""
_UNKNOWN: Final = "a server with the API of OpenAI"
_OWNERS: Final[Mapping[str, tuple[str, Dialect | None]]] = {
    "llamacpp": ("llama-server", Dialect.LLAMA_SERVER),
    "vllm": ("vLLM", Dialect.VLLM),
    "sglang": ("SGLang", Dialect.SGLANG),
    "library": ("Ollama", None),
    "organization_owner": ("LM Studio", None),
}
"""By `owned_by` in the list of models; without a dialect, tokens cannot be had."""
_QUICK_S: Final = 1.5
_PATIENT_S: Final = 10.0
_LIMITS: Final = Limits(max_bytes=4 << 20, max_values=20_000)
_MAX_MODELS: Final = 50
_REFUSALS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_QUESTION: Final = ({"role": "user", "content": "Hello"},)
_ADVICE: Final = "check the address, and that a server of a model runs there"


@dataclass(frozen=True, slots=True)
class _Answered:
    """The answer to one request."""

    document: Any = None
    status: int = 0


def find_servers(ports: Iterable[int] = PORTS) -> tuple[RunningServer, ...]:
    """Return the servers on ports of this machine that list models, or want a key."""

    async def ask() -> list[RunningServer | None]:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        return await asyncio.gather(*(_found_at(url, _QUICK_S) for url in urls))

    return tuple(server for server in asyncio.run(ask()) if server is not None)


def server_at(url: str) -> RunningServer:
    """Return the server at a URL.

    Raises:
        UsageInvalid: it is no URL of a server.
        MeasurementUnavailable: no server of models answers there.
    """
    address = _base_of(url)
    found = asyncio.run(_found_at(address, _PATIENT_S))
    if found is None:
        host = urlsplit(address).netloc
        raise MeasurementUnavailable(f"no list of models at {host}", remedy=_ADVICE)
    return found


def _base_of(url: str) -> str:
    """Return the URL without the path of the API; raises `UsageInvalid`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    is_plain = not {"?", "#", "@"} & set(url) and url.isascii() and url.isprintable()
    if parts.scheme not in {"http", "https"} or not host or not is_plain or " " in url:
        # The URL may contain a password, so it is not shown.
        raise UsageInvalid(
            "SOURCE has the form http://HOST:PORT or https://HOST, without a user, a password, a "
            "query or a fragment"
        )
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


async def _found_at(url: str, timeout_s: float) -> RunningServer | None:
    server = Server(
        name=urlsplit(url).netloc,
        secret=Secret(),
        max_bytes=_LIMITS.max_bytes,
        if_slow=_ADVICE,
        if_unreachable=_ADVICE,
        if_unreadable=_ADVICE,
        if_moved=_ADVICE,
    )
    http = Client(server, httpx.URL(url), Runtime())
    try:
        listed = await _sent(http, f"{url}/v1/models", timeout_s)
        return await _described(http, url, listed, timeout_s)
    finally:
        await http.aclose()


async def _described(
    http: Client, url: str, listed: _Answered, timeout_s: float
) -> RunningServer | None:
    """Return what answered, or None if that was no list of models."""
    port = urlsplit(url).port or 0
    if listed.status in _REFUSALS:
        return RunningServer(url=url, software=PORTS.get(port, _UNKNOWN), wants_key=True)
    rows = items_at(listed.document, "data")
    names = tuple(name for row in rows if _is_plain(name := value_at(row, "id")))
    if not names:
        return None
    owner = value_at(next(iter(rows)), "owned_by")
    unknown = (_UNKNOWN, None)
    software, dialect = _OWNERS.get(owner, unknown) if isinstance(owner, str) else unknown
    found = RunningServer(url=url, software=software, dialect=dialect, models=names[:_MAX_MODELS])
    return await _with_details(http, found, timeout_s)


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and bool(name.strip()) and name.isprintable()


async def _with_details(http: Client, found: RunningServer, timeout_s: float) -> RunningServer:
    """Return the server with what its own endpoints show."""
    match found.dialect:
        case Dialect.LLAMA_SERVER:
            props = await _sent(http, f"{found.url}/props", timeout_s)
            return _with_props(found, props.document)
        case Dialect.VLLM:
            body = {"model": found.models[0], "messages": [*_QUESTION]}
            asked = await _sent(http, f"{found.url}/tokenize", timeout_s, body)
            return replace(found, has_chat=asked.document is not None)
        case Dialect.SGLANG | Dialect.OPENAI | None:
            return found


def _with_props(found: RunningServer, props: Any) -> RunningServer:
    template, file = value_at(props, "chat_template"), value_at(props, "model_path")
    slots, context = (
        value_at(props, "total_slots"),
        value_at(value_at(props, "default_generation_settings"), "n_ctx"),
    )
    is_here = is_loopback(urlsplit(found.url).hostname or "")
    return replace(
        found,
        has_chat=isinstance(template, str) and bool(template),
        model_file=_file_of(file) if is_here and isinstance(file, str) else None,
        slots=slots if type(slots) is int and slots > 0 else None,
        context=context if type(context) is int and context > 0 else None,
    )


def _file_of(name: str) -> Path | None:
    """Return a file of this machine; a relative name is one of the server's folder."""
    path = Path(name)
    try:
        return path if path.is_absolute() and name.isprintable() and path.is_file() else None
    except OSError:
        return None


async def _sent(
    http: Client, url: str, timeout_s: float, body: Mapping[str, Any] | None = None
) -> _Answered:
    """Return the answer to one request; nothing if there is none, or if it is not JSON."""
    request = Request(method="GET" if body is None else "POST", url=httpx.URL(url), body=body)
    try:
        reply = await http.send(request, timeout_s=timeout_s)
    except HttpFailure:
        return _Answered()
    return _Answered(document=_json_of(reply), status=reply.status)


def _json_of(reply: Reply) -> Any:
    if reply.status != HTTPStatus.OK:
        return None
    try:
        return json_of(reply.body, Path("answer"), _LIMITS)
    except InputInvalid:
        return None
