"""JSON from GitHub: comments, issues, pull requests and fields; raises `FieldMissing`."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from repro_gate.adapters.files.parsing import ANSWER_LIMITS, json_line_of
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.comments import CiRun, Marker, PostedComment, marker_of
from repro_gate.core.watch.issues import IssueMarker, PostedIssue, issue_marker_of
from repro_gate.strict_json import InvalidJson, integer, text, value_at

T = TypeVar("T")
_URL = re.compile(r"https?://[!-~]{1,1000}")


class FieldMissing(ValueError):
    """A field is missing or invalid; the message names it."""


def parse_json(data: bytes) -> Any:
    """Parse a JSON document; raises ValueError, also for NaN, deep nesting and duplicate keys."""
    return json_line_of(data, ANSWER_LIMITS)


def text_at(document: object, *keys: str) -> str:
    """Return the string under nested keys, which is not empty and can be encoded as UTF-8.

    Raises:
        FieldMissing: there is none.
    """
    found = _read(text, document, keys)
    if not found:
        raise FieldMissing(f"{'.'.join(keys)}: expected a string, found an empty one")
    return found


def number_at(document: object, *keys: str) -> int:
    """Return the positive integer under nested keys.

    Raises:
        FieldMissing: there is none.
    """
    return _read(partial(integer, low=1), document, keys)


def _read(read: Callable[[object, str], T], document: object, keys: Sequence[str]) -> T:
    try:
        return read(value_at(document, *keys), ".".join(keys))
    except InvalidJson as error:
        raise FieldMissing(str(error)) from error


def marker_in(comment: Any) -> Marker | None:
    """Return the marker at the start of a comment by anyone; None without one."""
    number_at(comment, "id")
    body = value_at(comment, "body")
    return marker_of(body) if isinstance(body, str) else None


def posted_as(comment: Any, marker: Marker, token: Secret) -> PostedComment:
    """Return our comment."""
    id, url = number_at(comment, "id"), _url_of(comment, token)
    return PostedComment(id=id, url=url, marker=marker)


def issue_marker_in(issue: Any) -> IssueMarker | None:
    """Return the marker at the start of an issue by anyone; None for a pull request."""
    number_at(issue, "number")
    body = value_at(issue, "body")
    is_issue = value_at(issue, "pull_request") is None
    return issue_marker_of(body) if is_issue and isinstance(body, str) else None


def issue_as(issue: Any, marker: IssueMarker, token: Secret) -> PostedIssue:
    """Return our issue."""
    return PostedIssue(
        number=number_at(issue, "number"),
        url=_url_of(issue, token),
        is_open=text_at(issue, "state") == "open",
        marker=marker,
    )


def _url_of(post: Any, token: Secret) -> str:
    """Return the address of a post, which is shown as a link; empty for an invalid one."""
    url = text_at(post, "html_url")
    return url if _URL.fullmatch(url) and token.scrub(url) == url else ""


def author_of(comment: Any) -> str:
    """Return the login of the author of a comment."""
    return text_at(comment, "user", "login")


def pull_with_head(pull: Any, run: CiRun) -> int | None:
    """Return the number of a pull request whose head is the commit of the run, or None.

    The branch and its owner have to be the same too: a fork may contain any commit.
    """
    number = number_at(pull, "number")
    owner = value_at(pull, "head", "repo", "owner", "login")
    is_same = (
        value_at(pull, "state") == "open"
        and value_at(pull, "head", "sha") == run.head_sha
        and value_at(pull, "head", "ref") == run.head_branch
        and isinstance(owner, str)
        and owner.lower() == run.head_owner.lower()
    )
    return number if is_same else None
