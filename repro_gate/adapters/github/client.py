"""One call over HTTP: bounded in time and size, and never to another host than was asked."""

import asyncio
import ipaddress
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

import repro_gate
from repro_gate.adapters.github.retrying import TryAgain
from repro_gate.adapters.hosted.keys import Key
from repro_gate.adapters.hosted.surroundings import Surroundings
from repro_gate.errors import PublishFailed

_MOST_BYTES = 1 << 26
"""A page of a hundred of the longest comments is smaller."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server sent back, whatever it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@asynccontextmanager
async def connected(
    url: httpx.URL, token: Key, surroundings: Surroundings
) -> AsyncGenerator["Client"]:
    """Give a client, and let go of its connections at the end.

    Raises:
        PublishFailed: a proxy or a certificate of the environment cannot be used.
    """
    async with _open(surroundings, is_safe=url.scheme == "https") as http:
        yield Client(url, token, http)


class Client:
    """Connections to one server."""

    def __init__(self, url: httpx.URL, token: Key, http: httpx.AsyncClient) -> None:
        self._url = url
        self._token = token
        self._http = http

    async def send(self, call: Call, *, timeout_s: float) -> Reply:
        """Make a call and return what came back, whatever its status.

        Raises:
            TryAgain: nothing came back, or not all of it, or not in time.
            PublishFailed: what came back is not to be read.
        """
        try:
            # The whole attempt is timed, so that a slow drip of bytes is no way around it.
            async with (
                asyncio.timeout(timeout_s),
                self._http.stream(
                    call.method,
                    self._address_of(call),
                    params=call.query,
                    content=None if call.body is None else json.dumps(call.body).encode(),
                    headers=self._headers(call),
                    # A handshake that is only cancelled keeps its socket: it times out first.
                    timeout=httpx.Timeout(None, connect=timeout_s / 2),
                ) as response,
            ):
                content = await _read(response)
        except TimeoutError as error:
            reason = f"GitHub: no complete answer within {timeout_s:.3g} s"
            raise TryAgain(reason, may_be_done=True) from error
        except (httpx.HTTPError, OSError) as error:
            reason = f"GitHub: no answer: {self._words_of(error)}"
            raise TryAgain(reason, may_be_done=not isinstance(error, _NOT_SENT)) from error
        except PublishFailed:
            raise
        except Exception as error:
            # Under httpx are several libraries that let their own exceptions through.
            raise PublishFailed(f"GitHub: the call failed: {self._words_of(error)}") from error
        return Reply(status=response.status_code, headers=response.headers, body=content)

    def _headers(self, call: Call) -> dict[str, str]:
        return {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": f"repro-gate/{repro_gate.__version__}",
            # What is not compressed cannot unfold to more than was sent.
            "Accept-Encoding": "identity",
            **({} if call.body is None else {"Content-Type": "application/json"}),
            **self._token.headers,
        }

    def _address_of(self, call: Call) -> httpx.URL:
        beginning = self._url.path.rstrip("/")
        if call.path == _GRAPHQL:
            # An Enterprise Server has GraphQL beside the versions of REST.
            beginning = beginning.removesuffix(_ENTERPRISE)
        return self._url.copy_with(path=beginning + call.path)

    def _words_of(self, error: BaseException) -> str:
        # A group says nothing itself.
        error = next(iter(getattr(error, "exceptions", ())), error)
        said = self._token.quote(str(error))
        return f"{type(error).__name__}: {said}" if said else type(error).__name__


async def _read(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise PublishFailed("GitHub: a compressed answer, which was not asked for, is not read")
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _MOST_BYTES:
            raise PublishFailed(f"GitHub: an answer of more than {_MOST_BYTES} bytes is not read")
    return bytes(content)


def address_of(api_url: str) -> httpx.URL:
    """Return where the API begins; raises `PublishFailed` when no token may be sent there."""
    remedy = "look at GITHUB_API_URL"
    try:
        url = httpx.URL(api_url)
    except httpx.InvalidURL as error:
        raise PublishFailed("the address of the API is no URL", remedy=remedy) from error
    if url.userinfo or url.query or url.fragment:
        raise PublishFailed("the address of the API is more than a host and a path", remedy=remedy)
    is_safe = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.host))
    if not (is_safe and url.host):
        raise PublishFailed(
            "the address of the API is neither https:// nor on this machine, "
            "and no token is sent there",
            remedy=remedy,
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _open(surroundings: Surroundings, *, is_safe: bool) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(
            follow_redirects=False,
            # A server on this machine may be asked in clear; a proxy must not hear that.
            trust_env=is_safe,
            transport=surroundings.transport,
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        # The message may hold the password of a proxy.
        raise PublishFailed(
            "a proxy or certificate of the environment cannot be used "
            f"({type(error).__name__}), and GitHub cannot be asked",
            remedy="look at HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from error
