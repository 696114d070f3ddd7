"""One call over HTTP: bounded in time and size, and never to another host than was asked."""

import asyncio
import ipaddress
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

import repro_gate
from repro_gate.adapters.hosted.dialects import REQUEST_ID
from repro_gate.adapters.hosted.keys import Key
from repro_gate.adapters.hosted.retrying import TryAgain
from repro_gate.adapters.hosted.surroundings import Surroundings
from repro_gate.core.policies import ProviderSpec
from repro_gate.errors import MeasurementUnavailable

OK = 200
_MOST_BYTES = 1 << 24
"""An answer about a response of a hundred thousand tokens is smaller."""
_MOST_BYTES_OF_ERROR = 1 << 16
_IDLE_S = 30.0
"""How long a connection is kept for the next call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server sent back, whatever it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    latency_s: float
    request_id: str
    """What we called the call."""


class Client:
    """A pool of connections to one provider."""

    def __init__(self, provider: ProviderSpec, key: Key, surroundings: Surroundings) -> None:
        self._name = provider.name
        self._url = address_of(provider)
        self._key = key
        self._clock = surroundings.clock
        self._http = _open(provider, surroundings, is_safe=self._url.scheme == "https")

    async def send(self, body: Mapping[str, Any], *, timeout_s: float) -> Reply:
        """Send one request and return what came back, whatever its status.

        Raises:
            TryAgain: nothing came back, or not all of it, or not in time.
            MeasurementUnavailable: what came back is not to be read.
        """
        began = self._clock()
        request_id = str(uuid.uuid4())
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"repro-gate/{repro_gate.__version__}",
            # What is not compressed cannot unfold to more than was sent.
            "Accept-Encoding": "identity",
            REQUEST_ID: request_id,
            **self._key.headers,
        }
        try:
            # The whole attempt is timed, so that a slow drip of bytes is no way around it.
            async with (
                asyncio.timeout(timeout_s),
                self._http.stream(
                    "POST",
                    self._url,
                    content=json.dumps(body).encode(),
                    headers=headers,
                    # A handshake that is only cancelled keeps its socket: here it times out first.
                    timeout=httpx.Timeout(None, connect=timeout_s / 2),
                ) as response,
            ):
                content = await self._read(response)
        except TimeoutError as error:
            raise TryAgain(f"{self._name}: no complete answer within {timeout_s:.3g} s") from error
        except (httpx.HTTPError, OSError) as error:
            raise TryAgain(f"{self._name}: no answer: {self._words_of(error)}") from error
        except MeasurementUnavailable:
            raise
        except Exception as error:
            # Under httpx are several libraries that let their own exceptions through.
            reason = f"{self._name}: the call failed: {self._words_of(error)}"
            raise MeasurementUnavailable(reason) from error
        return Reply(
            status=response.status_code,
            headers=response.headers,
            body=content,
            latency_s=self._clock() - began,
            request_id=request_id,
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    def _words_of(self, error: BaseException) -> str:
        # A group says nothing itself.
        error = next(iter(getattr(error, "exceptions", ())), error)
        said = self._key.quote(str(error))
        return f"{type(error).__name__}: {said}" if said else type(error).__name__

    async def _read(self, response: httpx.Response) -> bytes:
        is_ok = response.status_code == OK
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            if is_ok:
                raise MeasurementUnavailable(
                    f"{self._name}: a compressed answer, which was not asked for, is not read"
                )
            return b""
        content = bytearray()
        most = _MOST_BYTES if is_ok else _MOST_BYTES_OF_ERROR
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > most:
                if is_ok:
                    raise MeasurementUnavailable(
                        f"{self._name}: an answer of more than {most} bytes is not read"
                    )
                break
        return bytes(content[:most])


def address_of(provider: ProviderSpec) -> httpx.URL:
    """Return where a provider's completions are.

    Raises:
        MeasurementUnavailable: a key must not be sent there.
    """
    try:
        url = httpx.URL(f"{provider.base_url.rstrip('/')}/completions")
    except httpx.InvalidURL as error:
        raise MeasurementUnavailable(f"the base_url of {provider.name} is no URL") from error
    if url.userinfo:
        raise MeasurementUnavailable(
            f"the base_url of {provider.name} holds a password",
            remedy="name the variable that holds the key as api_key_env",
        )
    is_safe = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.host))
    if not (is_safe and url.host):
        raise MeasurementUnavailable(
            f"the base_url of {provider.name} is neither https:// nor on this machine"
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _open(
    provider: ProviderSpec, surroundings: Surroundings, *, is_safe: bool
) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(
            http2=provider.http2,
            follow_redirects=False,
            # A server on this machine may be asked in clear; a proxy must not hear that.
            trust_env=is_safe,
            # A cookie would bind all draws to the backend that made the first.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            limits=httpx.Limits(
                max_connections=provider.concurrency,
                max_keepalive_connections=provider.concurrency,
                keepalive_expiry=_IDLE_S,
            ),
            transport=surroundings.transport,
        )
    except ImportError as error:
        missing, remedy = (
            ("HTTP/2", "pip install 'repro-gate[http2]', or set http2 to false")
            if "http2" in str(error)
            else ("a SOCKS proxy", "pip install 'httpx[socks]'")
        )
        raise MeasurementUnavailable(
            f"{provider.name}: {missing} needs a package that is not installed", remedy=remedy
        ) from error
    except (OSError, ValueError, httpx.InvalidURL) as error:
        # The message may hold the password of a proxy.
        raise MeasurementUnavailable(
            f"{provider.name}: a proxy or certificate of the environment cannot be used "
            f"({type(error).__name__})",
            remedy="look at HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from error
