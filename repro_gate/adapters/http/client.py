"""Bounded calls to one server: limited in time and size, without redirects or leaked secrets."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx

import repro_gate
from repro_gate.adapters.http.retry import HttpFailure, Runtime, status_text
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.logprobs.policy import is_loopback

_MAX_ERROR_BYTES = 1 << 16
_UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
_NOT_SENT = (*_UNREACHABLE, httpx.PoolTimeout)
_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/json",
    "User-Agent": f"repro-gate/{repro_gate.__version__}",
    # A compressed body could expand to any size.
    "Accept-Encoding": "identity",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The one server that a client talks to, and the remedies for its failures."""

    name: str
    """Prefixes every reason."""
    secret: Secret
    max_bytes: int
    """The limit of a successful reply; the rest of a longer error is dropped."""
    if_slow: str
    if_unreachable: str
    if_unreadable: str
    if_moved: str

    def failure(
        self,
        reason: str,
        *,
        remedy: str,
        transient: bool = False,
        is_unreachable: bool = False,
        may_have_taken_effect: bool = False,
    ) -> HttpFailure:
        """Return a failure of this server."""
        return HttpFailure(
            f"{self.name}: {reason}",
            remedy=remedy,
            transient=transient,
            is_unreachable=is_unreachable,
            may_have_taken_effect=may_have_taken_effect,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request."""

    method: str
    url: httpx.URL
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Added to the headers of every call, or replacing them; never the secret."""
    body: Mapping[str, Any] | None = None
    """A JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply that is not a redirect."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    """Cut off when it is long and the status is an error."""


class Client:
    """A pool of connections to one server."""

    def __init__(self, server: Server, url: httpx.URL, runtime: Runtime, **options: Any) -> None:
        """Open the pool; nothing is sent yet.

        Raises:
            HttpFailure: a proxy, a certificate or a missing package rules out any connection.
        """
        self._server = server
        self._http = _open(server, url, runtime, options)

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        """Make one call and return the reply, whatever its status.

        Raises:
            HttpFailure: there is no complete reply in time, or it is a redirect or unreadable.
        """
        server = self._server
        try:
            # A timeout per read would not end a slow drip of bytes.
            async with (
                asyncio.timeout(timeout_s),
                self._http.stream(
                    request.method,
                    request.url,
                    params=request.query,
                    content=None if request.body is None else json.dumps(request.body).encode(),
                    headers=self._headers_of(request),
                    # A handshake that is only cancelled keeps its socket: it times out first.
                    timeout=httpx.Timeout(None, connect=timeout_s / 2),
                ) as response,
            ):
                body = await self._read(response)
        except HttpFailure:
            raise
        except TimeoutError as error:
            raise server.failure(
                f"no complete answer within {timeout_s:.3g} s",
                remedy=server.if_slow,
                transient=True,
                may_have_taken_effect=True,
            ) from error
        except (httpx.HTTPError, OSError) as error:
            raise server.failure(
                f"no answer: {self._quote(error)}",
                remedy=server.if_unreachable,
                transient=True,
                is_unreachable=isinstance(error, _UNREACHABLE),
                may_have_taken_effect=not isinstance(error, _NOT_SENT),
            ) from error
        except Exception as error:
            # The libraries below httpx let their own exceptions through.
            raise server.failure(
                f"the call failed: {self._quote(error)}", remedy=server.if_unreachable
            ) from error
        return Reply(status=response.status_code, headers=response.headers, body=body)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _headers_of(self, request: Request) -> Mapping[str, str]:
        content_type = {} if request.body is None else {"Content-Type": "application/json"}
        return {**_HEADERS, **content_type, **request.headers, **self._server.secret.headers}

    def _quote(self, error: BaseException) -> str:
        # An exception group has no message of its own.
        error = next(iter(getattr(error, "exceptions", ())), error)
        message = self._server.secret.quote(str(error))
        return f"{type(error).__name__}: {message}" if message else type(error).__name__

    async def _read(self, response: httpx.Response) -> bytes:
        """Return the body, as far as it may be read."""
        server = self._server
        if response.is_redirect:
            target = _host_in(response.headers.get("location", ""))
            # The rest of the address may repeat the request.
            shown = server.secret.quote(target, max_length=80) or "another place"
            raise server.failure(
                f"{status_text(response.status_code)}: a redirect to {shown} is not followed",
                remedy=server.if_moved,
            )
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            if response.is_success:
                reason = "a compressed answer, which was not asked for, is not read"
                raise server.failure(reason, remedy=server.if_unreadable)
            # The status is worth more than the message.
            return b""
        limit = server.max_bytes if response.is_success else _MAX_ERROR_BYTES
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                if response.is_success:
                    reason = f"an answer of more than {limit} bytes is not read"
                    raise server.failure(reason, remedy=server.if_unreadable)
                break
        return bytes(body[:limit])


def _open(
    server: Server, url: httpx.URL, runtime: Runtime, options: Mapping[str, Any]
) -> httpx.AsyncClient:
    is_encrypted = url.scheme == "https"
    try:
        no_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return httpx.AsyncClient(
            follow_redirects=False,
            # A server on this machine may be called in clear text, which a proxy must not see.
            trust_env=is_encrypted,
            verify=runtime.certificates() if is_encrypted else no_certificates,
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
        raise server.failure(reason, remedy=remedy) from error
    except (OSError, ValueError, httpx.InvalidURL) as error:
        # The message may hold the password of a proxy.
        raise server.failure(
            f"a proxy or certificate of the environment cannot be used ({type(error).__name__})",
            remedy="check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from error


def url_for_secrets(text: str) -> httpx.URL:
    """Parse an address to which a secret may be sent.

    Raises:
        ValueError: none may; the message continues "the address ...".
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError("is not a URL") from error
    if url.userinfo:
        raise ValueError("contains a user name or password")
    if url.query or url.fragment:
        raise ValueError("has a query or a fragment")
    # Not `url.host`, which raises for a host that only looks like an encoded name.
    host = url.raw_host.decode("ascii")
    if not host or not (url.scheme == "https" or (url.scheme == "http" and is_loopback(host))):
        raise ValueError("is neither https:// nor on this machine")
    return url


def _host_in(location: str) -> str:
    try:
        return httpx.URL(location).raw_host.decode("ascii")
    except httpx.InvalidURL:
        return ""
