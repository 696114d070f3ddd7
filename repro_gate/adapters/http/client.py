"""One call over HTTP: bounded in time and size, and never to another host than was asked."""

import asyncio
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx

import repro_gate
from repro_gate.adapters.http.retry import Runtime
from repro_gate.adapters.http.secret import Secret

_MOST_BYTES_OF_ERROR = 1 << 16
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/json",
    "User-Agent": f"repro-gate/{repro_gate.__version__}",
    # What is not compressed cannot unfold to more than was sent.
    "Accept-Encoding": "identity",
}

_NO_CONNECTION: Final = (
    "check that the server runs and can be reached from here, and base_url and the proxy settings"
)
_WRONG_SERVER: Final = "check that base_url leads to the API itself, and not to a proxy or a page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a server is asked."""

    method: str
    url: httpx.URL
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Besides those of every call, or instead of them; never the key."""
    body: Mapping[str, Any] | None = None
    """A JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server sent back, whatever it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    """Of an error, no more than its beginning."""


class CallFailed(Exception):
    """There is no reply, or none that is to be read."""

    def __init__(
        self, reason: str, *, remedy: str, is_passing: bool = False, may_be_done: bool = True
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        """One safe line without the key."""
        self.remedy = remedy
        self.is_passing = is_passing
        """Whether the next attempt may get one."""
        self.may_be_done = may_be_done
        """Whether what was asked for may have been done all the same."""


class ConnectionImpossible(Exception):
    """The environment does not let us connect to anyone."""

    def __init__(self, reason: str, *, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class Connections:
    """Connections to one server, which is shown one key."""

    def __init__(self, key: Secret, http: httpx.AsyncClient, *, most_bytes: int) -> None:
        self._key = key
        self._http = http
        self._most_bytes = most_bytes

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        """Make a call and return what came back, whatever its status; raises `CallFailed`."""
        body = request.body
        try:
            # The whole attempt is timed, so that a slow drip of bytes is no way around it.
            async with (
                asyncio.timeout(timeout_s),
                self._http.stream(
                    request.method,
                    request.url,
                    params=request.query,
                    content=None if body is None else json.dumps(body).encode(),
                    headers={
                        **_HEADERS,
                        **({} if body is None else {"Content-Type": "application/json"}),
                        **request.headers,
                        **self._key.headers,
                    },
                    # A handshake that is only cancelled keeps its socket: it times out first.
                    timeout=httpx.Timeout(None, connect=timeout_s / 2),
                ) as response,
            ):
                content = await self._read(response)
        except TimeoutError as error:
            reason = f"no complete answer within {timeout_s:.3g} s"
            raise CallFailed(
                reason,
                is_passing=True,
                remedy="raise timeout_s or lower concurrency of the provider, or repeat it later",
            ) from error
        except (httpx.HTTPError, OSError) as error:
            raise CallFailed(
                f"no answer: {self._words_of(error)}",
                is_passing=True,
                remedy=_NO_CONNECTION,
                may_be_done=not isinstance(error, _NOT_SENT),
            ) from error
        except CallFailed:
            raise
        except Exception as error:
            # Under httpx are several libraries that let their own exceptions through.
            raise CallFailed(
                f"the call failed: {self._words_of(error)}", remedy=_NO_CONNECTION
            ) from error
        return Reply(status=response.status_code, headers=response.headers, body=content)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    def _words_of(self, error: BaseException) -> str:
        # A group says nothing itself.
        error = next(iter(getattr(error, "exceptions", ())), error)
        said = self._key.quote(str(error))
        return f"{type(error).__name__}: {said}" if said else type(error).__name__

    async def _read(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            # What a failure says is worth less than that it failed.
            if not response.is_success:
                return b""
            raise CallFailed(
                "a compressed answer, which was not asked for, is not read", remedy=_WRONG_SERVER
            )
        most = self._most_bytes if response.is_success else _MOST_BYTES_OF_ERROR
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > most:
                if response.is_success:
                    raise CallFailed(
                        f"an answer of more than {most} bytes is not read", remedy=_WRONG_SERVER
                    )
                break
        return bytes(content[:most])


def connect(url: httpx.URL, runtime: Runtime, **options: Any) -> httpx.AsyncClient:
    """Return a client for the server of an address; raises `ConnectionImpossible`."""
    try:
        return httpx.AsyncClient(
            follow_redirects=False,
            # A server on this machine may be asked in clear; a proxy must not hear that.
            trust_env=url.scheme == "https",
            # A cookie would bind all calls to the backend that answered the first.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            transport=runtime.transport,
            **options,
        )
    except ImportError as error:
        missing, remedy = (
            ("HTTP/2", "pip install 'repro-gate[http2]', or set http2 to false")
            if "http2" in str(error)
            else ("a SOCKS proxy", "pip install 'httpx[socks]'")
        )
        reason = f"{missing} needs a package that is not installed"
        raise ConnectionImpossible(reason, remedy=remedy) from error
    except (OSError, ValueError, httpx.InvalidURL) as error:
        # The message may hold the password of a proxy.
        raise ConnectionImpossible(
            f"a proxy or certificate of the environment cannot be used ({type(error).__name__})",
            remedy="look at HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from error


def may_hear_a_key(url: httpx.URL) -> bool:
    """Return whether nobody on the way to a server can read what it is sent."""
    # Not `url.host`, which raises where what it takes for an encoded name is none.
    host = url.raw_host.decode("ascii")
    if not host:
        return False
    return url.scheme == "https" or (url.scheme == "http" and is_loopback(host))


def target_of(reply: Reply, key: Secret) -> str:
    """Return the host that a redirect points to, for a reader."""
    try:
        host = httpx.URL(reply.headers.get("location", "")).raw_host.decode("ascii")
    except httpx.InvalidURL:
        host = ""
    # The rest of the address may hold what was asked, and more.
    return key.quote(host, longest=80) or "another place"


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
