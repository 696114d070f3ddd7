"""Failures of a hosted API: by status, in the body of a success, or as text that is not JSON."""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import unescape
from http import HTTPStatus
from typing import Any, Final

from repro_gate.adapters.http.client import Reply
from repro_gate.adapters.http.retry import HttpFailure, retry_after_s, status_text
from repro_gate.adapters.http.secret import Secret
from repro_gate.adapters.parsing import ANSWER_LIMITS, TooManyValues, lenient_json_of
from repro_gate.core.policies import ProviderSpec
from repro_gate.strict_json import value_at

_MAX_VALUES = 200
"""How much of a report is searched for its code."""
_MAX_CHARS = 4000
"""How much of a text is searched for a code."""
_MAX_WORDS = 1 << 16
"""How much of the words of a report is kept, to be searched for the field that it refuses."""
_SIGNS: Final = frozenset(
    {"error", "errors", "err", "exception", "fault", "error_code", "error_msg", "error_message"}
    | {"errorcode", "errormsg", "errormessage", "errmsg"}
)
"""Fields that hold something only where something failed."""
_NOTHING: Final = frozenset(
    {"", "0", "false", "nil", "none", "null", "ok", "success", "no error", "undefined"}
)
"""What such fields hold where nothing failed, in servers that always send them."""
_CUT_OFF: Final = frozenset(
    {"abort", "aborted", "cancelled", "canceled", "content_filter", "failed", "timeout"}
)
"""How a server says that it ended an answer early, where that has nothing of what was asked."""
_FLAGS: Final = ("success", "ok", "succeeded")
_FAILED: Final = frozenset({"error", "failed", "failure", "fail"})
_CODES: Final = (
    *("status_code", "statuscode", "http_status", "http_code", "error_code", "errorcode"),
    *("code", "status", "type", "reason"),
)
"""Where a report has its code, the plainest name first."""
_WORDS: Final = ("error", "errors", "message", "msg", "detail", "error_msg", "error_message")
_SKIPPED: Final = frozenset({"logprobs", "usage", "choices"})
"""Fields of an answer that hold no code, whatever numbers are in them."""
_NUMBER: Final = re.compile(r"\D{0,20}([45]\d\d)(?:\d{2,3})?(?!\d)\D*")
"""A status, or a longer code that begins with one, such as 40301."""
_NUMBER_IN_WORDS: Final = re.compile(
    r"(?:^|status|code|http(?:/[\d.]+)?|error)[^\d\n]{0,12}([45]\d\d)(?!\d)", re.IGNORECASE
)
_NAMES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("ratelimit", "toomanyrequests", "resourceexhausted", "throttl", "quota"), 429),
    **dict.fromkeys(("overload", "unavailable", "capacity", "toobusy", "loading"), 503),
    **dict.fromkeys(("timeout", "timedout", "deadlineexceeded"), 504),
    **dict.fromkeys(
        ("authenticat", "unauthorized", "unauthorised", "invalidapikey", "incorrectapikey"), 401
    ),
    **dict.fromkeys(("permission", "forbidden", "accessdenied"), 403),
    **dict.fromkeys(("notfound", "doesnotexist"), 404),
    **dict.fromkeys(("insufficientbalance", "paymentrequired", "billing"), 402),
    **dict.fromkeys(
        ("invalidrequest", "badrequest", "invalidargument", "invalidparam", "validation"), 400
    ),
    "contentfilter": 400,
    **dict.fromkeys(("internal", "servererror", "apierror"), 500),
}
"""What a code in letters means as a status, by what is left of it without spaces and dashes."""
_TITLE: Final = re.compile(r"<title[^>]{0,200}>([^<]{0,500})", re.IGNORECASE)


_REPORTED: Final = "the answer reports a failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failure that an answer reports."""

    status: int | None
    """The HTTP status that would say the same; None when the report has no code that we know."""
    words: str
    """The server's own, untrusted and of any length."""
    what: str = _REPORTED
    """What stands before the words."""


def failure_of(document: Any) -> Failure | None:
    """Return the failure that a JSON document reports, or None when it may be an answer.

    What has no choices answers nothing, so it is a report whatever else it says.
    """
    document = _unwrapped(document)
    choices = value_at(document, "choices")
    first = next(iter(_entries(choices)), None)
    for part in (document, first):
        if isinstance(part, dict) and _reports(part):  # pyright: ignore[reportUnknownArgumentType] -- JSON
            return _read(part)
    if first is None:
        return _read(document, what="the answer has no choices")
    ended = str(value_at(first, "finish_reason")).lower()
    if ended in _CUT_OFF and not value_at(first, "logprobs"):
        status, words = _status_by_name(ended), f"finish_reason {ended}"
        return Failure(status=status, words=words, what="the server cut the answer off")
    return None


def _unwrapped(document: Any) -> Any:
    """Return the only entry of a list of one, as some servers report their failures."""
    entries = _entries(document)
    return entries[0] if len(entries) == 1 else document


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] -- JSON


def failure_in(text: str) -> Failure | None:
    """Return the failure that a text reports which is not JSON as a whole, such as a stream."""
    for document in _documents_in(text):
        if isinstance(document, dict) and _reports(document):  # pyright: ignore[reportUnknownArgumentType] -- JSON
            return _read(document)
    return None


def words_of_text(text: str) -> str:
    """Return what a text means to say to a reader: of a page of HTML, its title."""
    if not text.lstrip().startswith("<"):
        return text
    title = _TITLE.search(text)
    return unescape(title[1]).strip() if title else ""


def words_of(document: Any) -> str:
    """Return the words of a report; without any, all of it."""
    said, about = _unwrapped(document), None
    for field in _WORDS:
        about = value_at(said, "param") or about
        inner = value_at(said, field)
        # Some say in one field that there is an error, and in the next what it is.
        said = inner if inner and not isinstance(inner, bool | int) else said
    try:
        words = said if isinstance(said, str) else json.dumps(said)
    except RecursionError:
        words = "a report too deep to be read"
    words = words[:_MAX_WORDS]
    # The field that is refused may be named there alone.
    return f"{words} ({about})" if isinstance(about, str) and about not in words else words


def status_in_words(words: str) -> int | None:
    """Return the status that words name by its number or its name."""
    number = _NUMBER_IN_WORDS.search(words[:_MAX_CHARS])
    return int(number[1]) if number else _status_by_name(words)


def _reports(part: Mapping[str, Any]) -> bool:
    fields = {name.lower(): value for name, value in part.items()}
    return (
        any(_is_said(fields.get(sign)) for sign in _SIGNS)
        or any(fields.get(flag) is False for flag in _FLAGS)
        or "error" in (fields.get("object"), fields.get("type"), fields.get("finish_reason"))
        or str(fields.get("status")).lower() in _FAILED
        or any(_is_code_of_failure(fields.get(name)) for name in _CODES)
    )


def _is_said(value: Any) -> bool:
    """Tell whether a field that is for failures holds one: not only nothing, zeros and "ok"."""
    waiting = deque([value])
    for _ in range(_MAX_VALUES):
        if not waiting:
            return False
        inner = waiting.popleft()
        if isinstance(inner, dict | list):
            waiting.extend(inner.values() if isinstance(inner, dict) else inner)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] -- JSON
        elif inner and str(inner).strip().lower() not in _NOTHING:
            return True
    return bool(waiting)


def _is_code_of_failure(value: Any) -> bool:
    """Tell whether a field is the code of a failure, and no text in which a number stands."""
    is_number = not isinstance(value, str) or value.strip().isdigit()
    return is_number and _status_of_number(value) is not None


def _read(document: Any, *, what: str = _REPORTED) -> Failure:
    words = words_of(document)
    found = list(_codes_in(document))
    status = next((status for status in map(_status_of_number, found) if status), None)
    names = [code for code in found if isinstance(code, str)]
    status = status or next((status for status in map(_status_by_name, names) if status), None)
    return Failure(status=status or status_in_words(words), words=words, what=what)


def _codes_in(document: Any) -> Iterator[Any]:
    """Yield what may be the code of a report, from the outside to the inside."""
    waiting = deque([document])
    for _ in range(_MAX_VALUES):
        if not waiting:
            return
        value = waiting.popleft()
        if isinstance(value, dict):
            fields: dict[str, Any] = {str(name).lower(): inner for name, inner in value.items()}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] -- JSON
            yield from (fields[name] for name in _CODES if name in fields)
            waiting.extend(inner for name, inner in fields.items() if name not in _SKIPPED)
        elif isinstance(value, list):
            waiting.extend(value[:_MAX_VALUES])  # pyright: ignore[reportUnknownArgumentType] -- JSON


def _status_of_number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    number = _NUMBER.fullmatch(str(value)) if not isinstance(value, int) or value < 10**7 else None
    return int(number[1]) if number else None


def _status_by_name(text: str) -> int | None:
    letters = re.sub(r"[^a-z]", "", text[:_MAX_CHARS].lower())
    return next((status for name, status in _NAMES.items() if name in letters), None)


def _documents_in(text: str) -> Iterator[Any]:
    lines = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
    for part in (text, *lines[:_MAX_VALUES]):
        try:
            document = lenient_json_of(part.encode(errors="surrogatepass"), ANSWER_LIMITS)
        except ValueError:
            continue
        yield document


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
