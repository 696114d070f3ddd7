"""Failures that are reported in a body: what an answer with status 200 may hold in place of one."""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any, Final

from repro_gate.adapters.parsing import ANSWER_LIMITS, lenient_json_of
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
