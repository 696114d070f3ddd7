"""What a reply is good for: a document to read, a reason to try again, or a refusal."""

import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from repro_gate.adapters.hosted.client import OK
from repro_gate.adapters.hosted.echoes import field_of
from repro_gate.adapters.hosted.retrying import TryAgain, asked_wait_s
from repro_gate.adapters.http.calls import Reply, target_of
from repro_gate.adapters.http.keys import Key
from repro_gate.core.policies import ProviderSpec
from repro_gate.errors import MeasurementUnavailable

_RETRIED: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
)
_UNWELCOME: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class Refused(MeasurementUnavailable):
    """The server understands and will not do it."""

    def __init__(
        self, reason: str, *, said: str, remedy: str | None = None, is_for_all: bool = False
    ) -> None:
        super().__init__(reason, remedy=remedy)
        self.said = said
        """All of the server's words, which may name a field."""
        self.is_for_all = is_for_all
        """Whether every other call would be refused too."""


class Reader:
    """Reads the replies of one provider."""

    def __init__(self, provider: ProviderSpec, key: Key) -> None:
        self._provider = provider
        self._key = key

    def document_of(self, reply: Reply, *, now: datetime) -> Any:
        """Return the JSON of a reply, whatever it says.

        Raises:
            TryAgain: the server may answer another time.
            Refused: it will not, as the request is.
            MeasurementUnavailable: it answers in a way that we do not follow.
        """
        name = self._provider.name
        if reply.status != OK:
            raise self._failure_of(reply, now)
        if not _is_json(reply.headers):
            kind = self._key.quote(reply.headers.get("content-type", "nothing said"), longest=80)
            raise TryAgain(f"{name}: the answer is no JSON but {kind}")
        try:
            # NaN and Infinity are no JSON, but are read: the token that has them shall be named.
            return json.loads(reply.body)
        except (ValueError, RecursionError) as error:
            raise TryAgain(f"{name}: the answer is malformed JSON") from error

    def _failure_of(self, reply: Reply, now: datetime) -> MeasurementUnavailable:
        status = reply.status
        if 300 <= status < 400:  # noqa: PLR2004 -- the class of redirects
            target = target_of(reply, self._key)
            return MeasurementUnavailable(
                f"{self._provider.name}: a redirect to {target} is not followed"
            )
        words = _words_of(reply)
        said = self._key.quote(words)
        reason = f"{self._provider.name}: status {status}{_phrase_of(status)}"
        reason += f": {said}" if said else ""
        if status in _RETRIED or 500 <= status < 600:  # noqa: PLR2004 -- the class of server errors
            return TryAgain(reason, after_s=asked_wait_s(reply.headers, now=now))
        variable = self._provider.api_key_env
        remedy = (
            f"set {variable} to a key that {self._provider.name} accepts"
            if variable is not None and status in _UNWELCOME
            else None
        )
        is_for_all = status == HTTPStatus.UNAUTHORIZED
        return Refused(reason, said=words, remedy=remedy, is_for_all=is_for_all)


def _phrase_of(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""


def _is_json(headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _words_of(reply: Reply) -> str:
    """Return the server's own words about an error; a page of HTML is none."""
    text = reply.body.decode("utf-8", errors="replace")
    if not _is_json(reply.headers):
        return text if reply.headers.get("content-type", "").startswith("text/plain") else ""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for field in ("error", "message", "detail"):
        said = field_of(said, field) or said
    return said if isinstance(said, str) else json.dumps(said)
