"""The connections to one provider, and where its completions are."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from repro_gate.adapters.hosted.dialects import REQUEST_ID
from repro_gate.adapters.hosted.retrying import TryAgain
from repro_gate.adapters.http.client import (
    CallFailed,
    ConnectionImpossible,
    Connections,
    Reply,
    Request,
    connect,
    may_hear_a_key,
)
from repro_gate.adapters.http.retry import Runtime
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.policies import ProviderSpec
from repro_gate.errors import MeasurementUnavailable

OK = HTTPStatus.OK
_MOST_BYTES = 1 << 24
"""An answer about a response of a hundred thousand tokens is smaller."""
_IDLE_S = 30.0
"""How long a connection is kept for the next call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedReply(Reply):
    """A reply, and the call that it is the reply to."""

    latency_s: float
    request_id: str
    """What we called the call."""
    model: str
    """The one that was asked for."""


class Client:
    """A pool of connections to one provider."""

    def __init__(self, provider: ProviderSpec, key: Secret, runtime: Runtime) -> None:
        self._name = provider.name
        self._url = address_of(provider)
        self._clock = runtime.clock
        self._connections = Connections(
            key, _open(provider, runtime, self._url), most_bytes=_MOST_BYTES
        )

    async def send(self, body: Mapping[str, Any], *, timeout_s: float) -> TimedReply:
        """Send one request and return what came back, whatever its status.

        Raises:
            TryAgain: nothing came back, or not all of it, or not in time.
            MeasurementUnavailable: what came back is not to be read.
        """
        began = self._clock()
        request_id = str(uuid.uuid4())
        request = Request(method="POST", url=self._url, headers={REQUEST_ID: request_id}, body=body)
        try:
            reply = await self._connections.send(request, timeout_s=timeout_s)
        except CallFailed as error:
            failure = TryAgain if error.is_passing else MeasurementUnavailable
            raise failure(f"{self._name}: {error.reason}", remedy=error.remedy) from error
        return TimedReply(
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            latency_s=self._clock() - began,
            request_id=request_id,
            model=body["model"],
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._connections.close()


def address_of(provider: ProviderSpec) -> httpx.URL:
    """Return where a provider's completions are.

    Raises:
        MeasurementUnavailable: a key must not be sent there.
    """
    try:
        url = httpx.URL(f"{provider.base_url.rstrip('/')}/completions")
    except httpx.InvalidURL as error:
        raise MeasurementUnavailable(
            f"the base_url of {provider.name} is no URL",
            remedy=f"correct base_url of providers.{provider.name} in the matrix",
        ) from error
    if url.userinfo:
        raise MeasurementUnavailable(
            f"the base_url of {provider.name} holds a password",
            remedy="name the variable that holds the key as api_key_env",
        )
    if not may_hear_a_key(url):
        raise MeasurementUnavailable(
            f"the base_url of {provider.name} is neither https:// nor on this machine",
            remedy=f"give providers.{provider.name} a base_url with https://",
        )
    return url


def _open(provider: ProviderSpec, runtime: Runtime, url: httpx.URL) -> httpx.AsyncClient:
    try:
        return connect(
            url,
            runtime,
            http2=provider.http2,
            limits=httpx.Limits(
                max_connections=provider.concurrency,
                max_keepalive_connections=provider.concurrency,
                keepalive_expiry=_IDLE_S,
            ),
        )
    except ConnectionImpossible as error:
        reason = f"{provider.name}: {error.reason}"
        raise MeasurementUnavailable(reason, remedy=error.remedy) from error
