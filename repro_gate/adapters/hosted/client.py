"""How a provider is reached: its key, the URL of its endpoint, and a pool of connections."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from repro_gate.adapters.hosted.dialects import REQUEST_ID, Dialect
from repro_gate.adapters.http.client import Client, Reply, Request, Server, url_for_secrets
from repro_gate.adapters.http.retry import Runtime
from repro_gate.adapters.http.secret import Secret, is_sendable
from repro_gate.core.logprobs.policy import ProviderSpec
from repro_gate.errors import MeasurementUnavailable

_MAX_BYTES = 1 << 24
"""An answer about a response of a hundred thousand tokens is smaller."""
_KEEPALIVE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedReply(Reply):
    """A reply, and what was sent and measured for it."""

    latency_s: float
    request_id: str
    """The id that we gave the request."""
    model: str
    """The model that was requested."""


class CompletionsClient:
    """The endpoints of one provider that score prompts and generate tokens."""

    def __init__(
        self, provider: ProviderSpec, key: Secret, runtime: Runtime, *, dialect: Dialect
    ) -> None:
        """Open a pool of connections; nothing is sent yet.

        Raises:
            MeasurementUnavailable: the key must not be sent to the provider's URL.
            HttpFailure: the environment rules out any connection.
        """
        self._dialect = dialect
        self._urls = {
            path: endpoint_url(provider, path) for path in (dialect.path, dialect.chat_path)
        }
        self._models = None if dialect.models is None else endpoint_url(provider, dialect.models)
        self._clock = runtime.clock
        self._http = Client(
            Server(
                name=provider.name,
                secret=key,
                max_bytes=_MAX_BYTES,
                if_slow="raise timeout_s or lower concurrency of the provider, or repeat it later",
                if_unreachable="check that the server runs and can be reached from here, and "
                "base_url and the proxy settings",
                if_unreadable="check that base_url leads to the API itself, and not to a proxy or "
                "a page",
                if_moved=f"set base_url of providers.{provider.name} to where the API is now",
            ),
            self._urls[dialect.path],
            runtime,
            http2=provider.http2,
            limits=httpx.Limits(
                max_connections=provider.concurrency,
                max_keepalive_connections=provider.concurrency,
                keepalive_expiry=_KEEPALIVE_S,
            ),
        )

    async def send(self, body: Mapping[str, Any], *, timeout_s: float) -> TimedReply:
        """Send one request and return the reply, whatever its status; raises `HttpFailure`."""
        started = self._clock()
        request_id = str(uuid.uuid4())
        # Unique for each call, so that no cached prompt has it.
        sent = self._dialect.sent(body, salt=request_id)
        url = self._urls[self._dialect.path_of(body)]
        request = Request(method="POST", url=url, headers={REQUEST_ID: request_id}, body=sent)
        reply = await self._http.send(request, timeout_s=timeout_s)
        return TimedReply(
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            latency_s=self._clock() - started,
            request_id=request_id,
            model=body["model"],
        )

    async def models(self, *, timeout_s: float) -> Reply | None:
        """Return the list of models, if answers do not name theirs; raises `HttpFailure`."""
        if self._models is None:
            return None
        return await self._http.send(Request(method="GET", url=self._models), timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def read_key(provider: ProviderSpec, environ: Mapping[str, str]) -> Secret:
    """Return the API key of a provider.

    Raises:
        MeasurementUnavailable: its variable is not set or contains no key; the message names the
            variable and never its content.
    """
    name = provider.api_key_env
    if name is None:
        return Secret()
    key = environ.get(name, "")
    remedy = f"set {name} to a key of {provider.name}"
    if not key.strip():
        raise MeasurementUnavailable(f"{name} is not set", remedy=remedy)
    if not is_sendable(key):
        raise MeasurementUnavailable(
            f"{name} contains a space, a line break or another character that no key has",
            remedy=remedy,
        )
    return Secret(key)


def endpoint_url(provider: ProviderSpec, path: str) -> httpx.URL:
    """Return the URL of an endpoint of a provider.

    Raises:
        MeasurementUnavailable: no key may be sent there.
    """
    try:
        return url_for_secrets(f"{provider.base_url.rstrip('/')}/{path}")
    except ValueError as error:
        raise MeasurementUnavailable(
            f"the base_url of {provider.name} {error}",
            remedy=f"give providers.{provider.name} a base_url that starts with https://, and name "
            "the variable that holds the key as api_key_env",
        ) from error
