"""Calls to the server that computes: bounded, direct, and with its own words in every error."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import httpx

from repro_gate.protocol import MAX_LINE_BYTES, Refusal, RequestRefused
from repro_gate.strict_json import InvalidJson, table, value_at

_CONNECT_S: Final = 10.0
_GLANCE_S: Final = 5.0
"""For an answer that needs no computing."""
_KEEP_ALIVE_S: Final = 1.0
"""Servers close idle connections after 5 s; one that is just being closed would lose a request."""
_MAX_ERROR_BYTES: Final = 1 << 16
_MAX_SHOWN: Final = 300
_OUT_OF_CONTEXT: Final = re.compile(
    r"exceed_context|context (?:size|length|window)|maximum (?:context|model) len|max_model_len",
    re.IGNORECASE,
)
_MESSAGES: Final = (("error", "message"), ("message",), ("detail",), ("error",))
"""Where servers put their words."""
_FIRST_ERROR: Final = 300
"""A redirect is not followed, and so is an error too."""
_SERVER_ERROR: Final = 500
_HEALTH: Final = "/health"
_NOT_ALLOWED: Final = frozenset({401, 403})


class ServerGone(Exception):
    """No server answers any more."""


class HttpRefused(RequestRefused):
    """The server answered with an error."""

    def __init__(self, kind: Refusal, message: str, *, status: int) -> None:
        super().__init__(kind, message)
        self.status = status

    @property
    def is_about_the_key(self) -> bool:
        """Whether the request lacks a key, or has a wrong one."""
        return self.status in _NOT_ALLOWED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    status: int
    body: bytes


class Http:
    """A pool of connections to one server, for any number of threads."""

    def __init__(
        self, base_url: str, *, key: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Open the pool; nothing is sent yet.

        Args:
            base_url: the address of the server, to which the paths of requests are added.
            key: sent in a header, and masked in every error.
            transport: in place of the network.
        """
        self._key = key
        self._client = httpx.Client(
            base_url=base_url,
            transport=transport,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            # A proxy must not see the requests, and no answer may come from another place.
            trust_env=False,
            follow_redirects=False,
            # The gate ends an engine whose request takes too long.
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEP_ALIVE_S),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str) -> Any:
        """Return the JSON of an answer that needs no computing; raises like `post`."""
        return self._json(path, self._answered("GET", path))

    def get_text(self, path: str) -> str:
        """Return the text of an answer that needs no computing; raises like `post`."""
        return self._answered("GET", path).decode("utf-8", errors="replace")

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON object of an answer.

        Raises:
            HttpRefused: the server answered with an error.
            RequestRefused: the answer is none that JSON allows.
            ServerGone: there is no complete answer.
        """
        try:
            return table(self._json(path, self._answered("POST", path, body)))
        except InvalidJson as error:
            raise self._unreadable(path, str(error)) from error

    def quote(self, untrusted: str) -> str:
        """Return words of the server as one line of bounded length, without the key."""
        line = " ".join(untrusted.split())
        if self._key:
            line = line.replace(self._key, "***")
        shown = line[:_MAX_SHOWN].encode("unicode_escape").decode()
        return shown if len(line) <= _MAX_SHOWN else f"{shown}..."

    def _answered(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        reply = self._send(method, path, body)
        if reply.status >= _FIRST_ERROR:
            error = self._refused(path, reply)
            if method == "POST" and reply.status >= _SERVER_ERROR:
                self._require_health(error)
            raise error
        return reply.body

    def _require_health(self, error: HttpRefused) -> None:
        """Raise `ServerGone` for an error after which no other request can succeed."""
        try:
            status = self._send("GET", _HEALTH, None).status
        except ServerGone as gone:
            raise ServerGone(f"{error.message}; then {gone}") from error
        if status >= _SERVER_ERROR:
            raise ServerGone(f"{error.message}; then {_HEALTH}: HTTP {status}") from error

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> _Reply:
        timeout = httpx.Timeout(_GLANCE_S) if method == "GET" else self._client.timeout
        try:
            with self._client.stream(method, path, json=body, timeout=timeout) as response:
                return _Reply(status=response.status_code, body=_read(response))
        except httpx.ReadTimeout as error:
            raise ServerGone(f"{path}: no answer within {_GLANCE_S:g} s") from error
        except (httpx.HTTPError, OSError) as error:
            shown = self.quote(f"{type(error).__name__}: {error}")
            raise ServerGone(f"{path}: the server is gone: {shown}") from error

    def _refused(self, path: str, reply: _Reply) -> HttpRefused:
        words = _words(reply.body)
        kind = Refusal.INTERNAL if reply.status >= _SERVER_ERROR else Refusal.BAD_REQUEST
        if kind is Refusal.BAD_REQUEST and _OUT_OF_CONTEXT.search(words):
            kind = Refusal.OUT_OF_CONTEXT
        hint = "; api_key_env names the key" if reply.status in _NOT_ALLOWED else ""
        message = f"{path}: HTTP {reply.status}: {self.quote(words)}{hint}"
        return HttpRefused(kind, message, status=reply.status)

    def _json(self, path: str, body: bytes) -> Any:
        if len(body) > MAX_LINE_BYTES:
            raise self._unreadable(path, f"it has more than {MAX_LINE_BYTES} bytes")
        try:
            return json.loads(body, parse_constant=_not_finite)
        except (ValueError, RecursionError) as error:
            raise self._unreadable(path, str(error)) from error

    def _unreadable(self, path: str, fault: str) -> RequestRefused:
        return RequestRefused(
            Refusal.INTERNAL, f"{path}: the answer cannot be used: {self.quote(fault)}"
        )


def _read(response: httpx.Response) -> bytes:
    """Return the body, as far as it may be read, and a byte more."""
    limit = _MAX_ERROR_BYTES if response.status_code >= _FIRST_ERROR else MAX_LINE_BYTES
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body[: limit + 1])


def _words(body: bytes) -> str:
    """Return the message of an error, or all of it; with llama-server's type before it."""
    text = body.decode("utf-8", errors="replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    found = (value_at(document, *keys) for keys in _MESSAGES)
    message = next((each for each in found if isinstance(each, str)), text)
    kind = value_at(document, "error", "type")
    return f"{message} ({kind})" if isinstance(kind, str) else message


def _not_finite(name: str) -> NoReturn:
    raise RequestRefused(Refusal.NOT_FINITE, f"the server answered with the number {name}")
