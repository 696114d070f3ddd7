"""Failures of a hosted API: by status, in the body of a success, or as text that is not JSON."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import unescape
from http import HTTPStatus
from typing import Any, Final

import httpx

from repro_gate.adapters.files.parsing import ANSWER_LIMITS, TooManyValues, lenient_json_of
from repro_gate.adapters.http.client import Reply
from repro_gate.adapters.http.retry import HttpFailure, retry_after_s, status_text
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.logprobs.policy import ProviderSpec
from repro_gate.strict_json import items_at, value_at

_MAX_VALUES = 200
"""Values of an error that are searched for its code."""
_MAX_CHARS = 4000
"""Characters of a text that are searched for a code."""
_MAX_MESSAGE = 1 << 16
"""Characters of a message that are kept, to be searched for the rejected field."""
_ERROR_FIELDS: Final = frozenset(
    {"error", "errors", "err", "exception", "fault", "error_code", "error_msg", "error_message"}
    | {"errorcode", "errormsg", "errormessage", "errmsg"}
)
"""Fields that are filled only when something failed, but for the values of `_EMPTY`."""
_EMPTY: Final = frozenset(
    {"", "0", "false", "nil", "none", "null", "ok", "success", "no error", "undefined"}
)
_CUT_OFF: Final = frozenset(
    {"abort", "aborted", "cancelled", "canceled", "content_filter", "failed", "timeout"}
)
"""Finish reasons of an answer that ended early, possibly without log-probabilities."""
_FLAGS: Final = ("success", "ok", "succeeded")
_FAILED: Final = frozenset({"error", "failed", "failure", "fail"})
_CODES: Final = (
    *("status_code", "statuscode", "http_status", "http_code", "error_code", "errorcode"),
    *("code", "status", "type", "reason"),
)
"""Where an error has its code, the clearest name first."""
_MESSAGES: Final = ("error", "errors", "message", "msg", "detail", "error_msg", "error_message")
_SKIPPED: Final = frozenset({"logprobs", "usage", "choices"})
"""Fields of an answer whose numbers are never a code."""
_NUMBER: Final = re.compile(r"\D{0,20}([45]\d\d)(?:\d{2,3})?(?!\d)\D*")
"""A status, or a longer code that starts with one, such as 40301."""
_NUMBER_IN_TEXT: Final = re.compile(
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
"""The statuses of textual codes, which are compared without spaces and dashes."""
_TITLE: Final = re.compile(r"<title[^>]{0,200}>([^<]{0,500})", re.IGNORECASE)
_MAX_ASKED_S: Final = 60.0
"""No server, and no jump of the clock, delays a check for longer."""
_RETRIED: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
)
_UNAUTHORIZED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_GONE_REMEDY: Final = (
    "check base_url and whether {provider} still serves the model; for another model change the "
    "policy in the matrix, then repro-gate record-baseline"
)
_REMEDIES: Final[Mapping[int, str]] = {
    HTTPStatus.PAYMENT_REQUIRED: "add credit to the account at {provider}",
    HTTPStatus.NOT_FOUND: _GONE_REMEDY,
    HTTPStatus.GONE: _GONE_REMEDY,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "shorten the prompt or the response of the item",
    HTTPStatus.TOO_MANY_REQUESTS: "lower concurrency of providers.{provider}, or resume later with "
    "--resume; a used-up quota has to be raised at the provider",
}
_REJECTED_REMEDY: Final = (
    "change the policy or providers.{provider} in the matrix as the server's message asks"
)
_FAILING_REMEDY: Final = "the server fails: resume later with --resume, or ask its operator"
_NOT_JSON_REMEDY: Final = "check that base_url leads to an API of this kind; resume with --resume"
_PAGE_REMEDY: Final = (
    "check base_url and what is in front of the server, such as a proxy or a login page"
)


class ReplyReader:
    """Reads the replies of one provider."""

    def __init__(
        self,
        provider: ProviderSpec,
        key: Secret,
        *,
        completion: Callable[[Any], Any] = lambda document: document,
    ) -> None:
        self._provider = provider
        self._key = key
        self._completion = completion

    def document_of(self, reply: Reply, *, now: datetime) -> Any:
        """Return the completion in a reply; raises `HttpFailure` for an error in any form."""
        document = self._completion(self.json_of(reply, now=now))
        reported = error_in(document)
        if reported is not None:
            raise self._failure(reported, reply, now)
        return document

    def json_of(self, reply: Reply, *, now: datetime) -> Any:
        """Return the JSON of a reply; raises `HttpFailure` for another status."""
        if reply.status != HTTPStatus.OK:
            error = ReportedError(status=reply.status, message=_message_in(reply), what="")
            raise self._failure(error, reply, now)
        try:
            if not _is_json(reply.headers):
                raise self._not_json(reply, now)
            # NaN and Infinity are not JSON, but are read in order to name the token that has them.
            return lenient_json_of(reply.body, ANSWER_LIMITS)
        except TooManyValues as error:
            reason = f"{self._provider.name}: an answer of {error} is not read"
            raise HttpFailure(reason, remedy=_PAGE_REMEDY) from error
        except ValueError as error:
            raise self._not_json(reply, now) from error

    def _not_json(self, reply: Reply, now: datetime) -> HttpFailure:
        """Return the failure of a reply with status 200 that is not JSON."""
        text = reply.body.decode("utf-8", errors="replace")
        is_page = text.lstrip().startswith("<")
        message = _title_of(text) if is_page else text
        status = None if is_page else _status_in(message)
        error = _error_in_lines(text) or (ReportedError(status, message) if status else None)
        if error is not None:
            return self._failure(error, reply, now)
        what = "the answer is malformed JSON"
        if not _is_json(reply.headers):
            kind = reply.headers.get("content-type", "no content type")
            what = f"the answer is not JSON ({self._key.quote(kind, max_length=80)})"
        # A part of a document is no message for a reader.
        shown = self._key.quote(message) if _is_prose(message) else ""
        return HttpFailure(
            ": ".join(filter(None, (self._provider.name, what, shown))),
            remedy=_PAGE_REMEDY if is_page else _NOT_JSON_REMEDY,
            transient=True,
        )

    def _failure(self, error: "ReportedError", reply: Reply, now: datetime) -> HttpFailure:
        """Return the failure that an error means, by its status."""
        status = error.status
        shown = None if status is None else status_text(status)
        parts = (self._provider.name, error.what, shown, self._key.quote(error.message))
        transient = status is None or status in _RETRIED or httpx.codes.is_server_error(status)
        # Some servers reject a request with a 500, others without any code.
        is_rejection = not transient or status in {None, HTTPStatus.INTERNAL_SERVER_ERROR}
        asked_s = retry_after_s(reply.headers, now=now) if transient else None
        return HttpFailure(
            ": ".join(filter(None, parts)),
            remedy=self._remedy_for(status),
            status=None if transient else status,
            message=error.message if is_rejection else "",
            transient=transient,
            after_s=None if asked_s is None else min(asked_s, _MAX_ASKED_S),
        )

    def _remedy_for(self, status: int | None) -> str:
        provider, variable = self._provider.name, self._provider.api_key_env
        if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _FAILING_REMEDY
        if status in _UNAUTHORIZED:
            return (
                f"name the variable that holds a key as api_key_env of providers.{provider}"
                if variable is None
                else f"set {variable} to a key that {provider} accepts"
            )
        return _REMEDIES.get(status, _REJECTED_REMEDY).format(provider=provider)


def _is_json(headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _is_prose(message: str) -> bool:
    return message[:1].isalnum() and not message.isdigit()


def _title_of(page: str) -> str:
    title = _TITLE.search(page)
    return unescape(title[1]).strip() if title else ""


def _message_in(reply: Reply) -> str:
    """Return the message of an error reply; a page of HTML has none."""
    text = reply.body.decode("utf-8", errors="replace")
    if not _is_json(reply.headers):
        return text if reply.headers.get("content-type", "").startswith("text/plain") else ""
    try:
        return _message_of(lenient_json_of(reply.body, ANSWER_LIMITS))
    except ValueError:
        return text


@dataclass(frozen=True, slots=True)
class ReportedError:
    """An error as a server reports it."""

    status: int | None
    """The HTTP status that its code means; None without a known code."""
    message: str
    """Untrusted, and of any length."""
    what: str = "the answer reports a failure"
    """Comes before the message."""


def error_in(document: Any) -> ReportedError | None:
    """Return the error that a JSON document reports, or None when it may be an answer.

    A document without choices answers nothing, so it is an error whatever else it contains.
    """
    document = _unwrapped(document)
    choices = value_at(document, "choices")
    first = next(iter(items_at(choices)), None)
    for part in (document, first):
        if _is_error(part):
            return _error_of(part)
    if first is None:
        return _error_of(document, what="the answer has no choices")
    reason = str(value_at(first, "finish_reason")).lower()
    if reason in _CUT_OFF and not value_at(first, "logprobs"):
        message, what = f"finish_reason {reason}", "the server cut the answer off"
        return ReportedError(_status_by_name(reason), message, what)
    return None


def _unwrapped(document: Any) -> Any:
    """Return the only item of a list of one, in which some servers report their errors."""
    items = items_at(document)
    return items[0] if len(items) == 1 else document


def _error_in_lines(text: str) -> ReportedError | None:
    """Return the error that a text reports in JSON, as a whole or in a line of a stream."""
    lines = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
    for part in (text, *lines[:_MAX_VALUES]):
        try:
            document = lenient_json_of(part.encode(errors="surrogatepass"), ANSWER_LIMITS)
        except ValueError:
            continue
        if _is_error(document):
            return _error_of(document)
    return None


def _is_error(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    fields: dict[str, Any] = {str(name).lower(): value for name, value in part.items()}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] -- JSON
    return (
        any(_is_filled(fields.get(name)) for name in _ERROR_FIELDS)
        or any(fields.get(flag) is False for flag in _FLAGS)
        or "error" in (fields.get("object"), fields.get("type"), fields.get("finish_reason"))
        or str(fields.get("status")).lower() in _FAILED
        or any(_is_error_code(fields.get(name)) for name in _CODES)
    )


def _is_filled(value: Any) -> bool:
    """Return whether a value holds anything but zeros, "ok" and the like."""
    waiting = deque([value])
    for _ in range(_MAX_VALUES):
        if not waiting:
            return False
        inner = waiting.popleft()
        if isinstance(inner, dict | list):
            waiting.extend(inner.values() if isinstance(inner, dict) else inner)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] -- JSON
        elif inner and str(inner).strip().lower() not in _EMPTY:
            return True
    return bool(waiting)


def _is_error_code(value: Any) -> bool:
    """Return whether a value is the code of an error, and not a text that contains a number."""
    is_number = not isinstance(value, str) or value.strip().isdigit()
    return is_number and _status_by_number(value) is not None


def _error_of(document: Any, **what: str) -> ReportedError:
    message = _message_of(document)
    codes = list(_codes_in(document))
    names = [code for code in codes if isinstance(code, str)]
    found = (*map(_status_by_number, codes), *map(_status_by_name, names))
    return ReportedError(next(filter(None, found), None) or _status_in(message), message, **what)


def _message_of(document: Any) -> str:
    """Return the message of an error; without any, all of it."""
    message, field = _unwrapped(document), None
    for name in _MESSAGES:
        field = value_at(message, "param") or field
        inner = value_at(message, name)
        # One field may only be a flag, and the next one hold the message.
        message = inner if inner and not isinstance(inner, bool | int) else message
    try:
        text = message if isinstance(message, str) else json.dumps(message)
    except RecursionError:
        text = "an error nested too deeply to be shown"
    text = text[:_MAX_MESSAGE]
    # The rejected field may be named only there.
    return f"{text} ({field})" if isinstance(field, str) and field not in text else text


def _codes_in(document: Any) -> Iterator[Any]:
    """Yield the possible codes of an error, the outer ones first."""
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


def _status_by_number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    number = _NUMBER.fullmatch(str(value)) if not isinstance(value, int) or value < 10**7 else None
    return int(number[1]) if number else None


def _status_by_name(text: str) -> int | None:
    letters = re.sub(r"[^a-z]", "", text[:_MAX_CHARS].lower())
    return next((status for name, status in _NAMES.items() if name in letters), None)


def _status_in(text: str) -> int | None:
    """Return the status that a text contains, as a number or by name."""
    number = _NUMBER_IN_TEXT.search(text[:_MAX_CHARS])
    return int(number[1]) if number else _status_by_name(text)
