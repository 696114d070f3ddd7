"""What a reply is good for: a document to read, a reason to try again, or a refusal."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from repro_gate.adapters.hosted.failures import (
    Failure,
    failure_in,
    failure_of,
    status_in_words,
    words_of,
    words_of_text,
)
from repro_gate.adapters.http.client import Reply
from repro_gate.adapters.http.retry import HttpFailure, retry_after_s, status_text
from repro_gate.adapters.http.secret import Secret
from repro_gate.adapters.parsing import ANSWER_LIMITS, TooManyValues, lenient_json_of
from repro_gate.core.policies import ProviderSpec

_MAX_ASKED_S: Final = 60.0
"""No server, and no jump of the clock, delays a check for longer."""
_RETRIED: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
)
_UNWELCOME: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_GONE_REMEDY: Final = (
    "check base_url and whether {provider} still serves the model; for another model change the "
    "policy in the matrix, then repro-gate record-baseline"
)
_REMEDIES: Final[Mapping[int, str]] = {
    HTTPStatus.PAYMENT_REQUIRED: "add credit to the account at {provider}",
    HTTPStatus.NOT_FOUND: _GONE_REMEDY,
    HTTPStatus.GONE: _GONE_REMEDY,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "shorten the prompt or the response of the item",
    HTTPStatus.TOO_MANY_REQUESTS: "lower concurrency of providers.{provider}, or go on later with "
    "--resume; a used-up quota has to be raised at the provider",
}
_REFUSED_REMEDY: Final = (
    "change the policy or providers.{provider} in the matrix as the server's message asks"
)
_FAILING_REMEDY: Final = "the server fails: go on later with --resume, or ask its operator"
_NO_JSON_REMEDY: Final = "check that base_url leads to an API of this kind; go on with --resume"
_PAGE_REMEDY: Final = (
    "look at base_url, and at what stands before the server: a proxy or a login page answers so"
)


class Reader:
    """Reads the replies of one provider."""

    def __init__(self, provider: ProviderSpec, key: Secret) -> None:
        self._provider = provider
        self._key = key

    def document_of(self, reply: Reply, *, now: datetime) -> Any:
        """Return the JSON of a reply, which may be an answer.

        Raises:
            HttpFailure: it is an error, reports one, or is not JSON.
        """
        if reply.status != HTTPStatus.OK:
            refusal = Failure(status=reply.status, words=_words_of(reply))
            raise self._judged(refusal, reply, now)
        try:
            if not _is_json(reply.headers):
                raise self._no_json(reply, now)
            # NaN and Infinity are no JSON, but are read: the token that has them shall be named.
            document = lenient_json_of(reply.body, ANSWER_LIMITS)
        except TooManyValues as error:
            raise HttpFailure(
                f"{self._provider.name}: an answer of {error} is not read", remedy=_PAGE_REMEDY
            ) from error
        except ValueError as error:
            raise self._no_json(reply, now) from error
        failure = failure_of(document)
        if failure is not None:
            raise self._judged(failure, reply, now, reported=failure.what)
        return document

    def _no_json(self, reply: Reply, now: datetime) -> HttpFailure:
        """Return why a reply with status 200 cannot be read, with the words that it has."""
        text = reply.body.decode("utf-8", errors="replace")
        failure = failure_in(text)
        if failure is not None:
            return self._judged(failure, reply, now, reported=failure.what)
        what = "the answer is malformed JSON"
        if not _is_json(reply.headers):
            kind = self._key.quote(reply.headers.get("content-type", "nothing said"), longest=80)
            what = f"the answer is no JSON but {kind}"
        is_page = text.lstrip().startswith("<")
        words = words_of_text(text)
        if not is_page and (status := status_in_words(words)):
            failure = Failure(status=status, words=words)
            return self._judged(failure, reply, now, reported=failure.what)
        # Half of a document has no words for a reader.
        said = self._key.quote(words) if _is_prose(words) else ""
        return HttpFailure(
            f"{self._provider.name}: {what}{f': {said}' if said else ''}",
            remedy=_PAGE_REMEDY if is_page else _NO_JSON_REMEDY,
            transient=True,
        )

    def _judged(
        self, failure: Failure, reply: Reply, now: datetime, *, reported: str | None = None
    ) -> HttpFailure:
        """Return what a failure means, by its status."""
        status, said = failure.status, self._key.quote(failure.words)
        named = None if status is None else status_text(status)
        transient = status is None or status in _RETRIED or 500 <= status < 600  # noqa: PLR2004 -- the class of server errors
        # Some servers answer a request that they reject with a 500, others without any code.
        is_rejection = not transient or status in {None, HTTPStatus.INTERNAL_SERVER_ERROR}
        asked_s = retry_after_s(reply.headers, now=now) if transient else None
        return HttpFailure(
            ": ".join(filter(None, (self._provider.name, reported, named, said))),
            remedy=self._remedy_for(status),
            status=None if transient else status,
            message=failure.words if is_rejection else "",
            transient=transient,
            after_s=None if asked_s is None else min(asked_s, _MAX_ASKED_S),
        )

    def _remedy_for(self, status: int | None) -> str:
        provider, variable = self._provider.name, self._provider.api_key_env
        if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _FAILING_REMEDY
        if status in _UNWELCOME:
            return (
                f"name the variable that holds a key as api_key_env of providers.{provider}"
                if variable is None
                else f"set {variable} to a key that {provider} accepts"
            )
        return _REMEDIES.get(status, _REFUSED_REMEDY).format(provider=provider)


def _is_prose(words: str) -> bool:
    return words[:1].isalnum() and not words.isdigit()


def _is_json(headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _words_of(reply: Reply) -> str:
    """Return the server's own words about an error; a page of HTML is none."""
    text = reply.body.decode("utf-8", errors="replace")
    if not _is_json(reply.headers):
        return text if reply.headers.get("content-type", "").startswith("text/plain") else ""
    try:
        return words_of(lenient_json_of(reply.body, ANSWER_LIMITS))
    except ValueError:
        return text
