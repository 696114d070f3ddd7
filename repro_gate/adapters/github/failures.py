"""Replies of GitHub: the JSON of a success, or the `HttpFailure` that an error means."""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

import httpx

from repro_gate.adapters.github.payload import parse_json
from repro_gate.adapters.http.client import Reply
from repro_gate.adapters.http.retry import (
    MAX_ASKED_S,
    HttpFailure,
    retry_after_s,
    seconds_in,
    status_text,
)
from repro_gate.adapters.http.secret import Secret
from repro_gate.strict_json import items_at, value_at

AGAIN = "run the job again later"
_MAX_ERRORS = 5
_MAX_PERMISSIONS = 3
_SECONDARY_S = 60.0
"""The wait that GitHub's documentation asks for when a reply names none."""
_PERMISSION = re.compile(r"([a-z_]{1,50})=(read|write|admin)")
_REMEDIES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "give the step a valid token, such as ${{ github.token }}",
    HTTPStatus.NOT_FOUND: "check that the token can see this repository and pull request",
}
_OTHER_CAUSES: Mapping[str, str] = {
    "locked": "unlock the conversation of the pull request",
    "archived": "unarchive the repository",
    "issues has been disabled": "turn on issues in the settings of the repository",
    "commenting is disabled": "open another pull request: this one has too many comments",
}


def require_success(reply: Reply, token: Secret, *, now: datetime) -> None:
    """Raise `HttpFailure` unless the status of a reply is a success."""
    status = reply.status
    if httpx.codes.is_success(status):
        return
    reason = ": ".join(
        filter(None, ("GitHub", status_text(status), token.quote(_message_of(reply))))
    )
    wait_s = _rate_limit_s(reply, now)
    if wait_s is not None:
        raise HttpFailure(
            f"{reason} (a rate limit)",
            remedy=AGAIN,
            transient=True,
            after_s=wait_s,
        )
    if status >= 500 or status == HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004 -- server errors
        raise HttpFailure(
            reason,
            remedy=AGAIN,
            transient=True,
            after_s=retry_after_s(reply.headers, now=now),
            may_have_taken_effect=True,
        )
    raise HttpFailure(reason, remedy=_remedy_for(reply, token), status=status)


def document_of(reply: Reply) -> Any:
    """Return the JSON of a successful reply; raises a transient `HttpFailure`."""
    try:
        return parse_json(reply.body)
    except ValueError as error:
        raise HttpFailure(
            "GitHub: the answer is not JSON",
            remedy=AGAIN,
            transient=True,
            may_have_taken_effect=True,
        ) from error


def _rate_limit_s(reply: Reply, now: datetime) -> float | None:
    """Return the wait for a rate limit; None when the reply has another cause."""
    if reply.status not in {HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}:
        return None
    asked = retry_after_s(reply.headers, now=now)
    if asked is not None:
        return asked
    if reply.headers.get("x-ratelimit-remaining", "").strip() == "0":
        reset = seconds_in(reply.headers, "x-ratelimit-reset")
        if reset is not None:
            # GitHub counts whole seconds, and our clock may be ahead of its own.
            return min(max(0.0, reset - now.timestamp()) + 1.0, MAX_ASKED_S)
    is_named = "rate limit" in _message_of(reply).lower()
    return _SECONDARY_S if is_named or reply.status == HTTPStatus.TOO_MANY_REQUESTS else None


def _message_of(reply: Reply) -> str:
    """Return the message of an error reply; a page of HTML has none."""
    try:
        document = parse_json(reply.body)
    except ValueError:
        return ""
    more = items_at(document, "errors")[:_MAX_ERRORS]
    parts = [value_at(document, "message"), *(_message_in(error) for error in more)]
    return ": ".join(part for part in parts if isinstance(part, str))


def _message_in(error: Any) -> Any:
    if isinstance(error, str):
        return error
    return value_at(error, "message") or value_at(error, "code")


def _remedy_for(reply: Reply, token: Secret) -> str:
    message = _message_of(reply).lower()
    if reply.status in {HTTPStatus.FORBIDDEN, HTTPStatus.GONE}:
        for cause, remedy in _OTHER_CAUSES.items():
            if cause in message:
                return remedy
    if reply.status != HTTPStatus.FORBIDDEN:
        return _REMEDIES.get(reply.status, "")
    named = _permissions(token.quote(reply.headers.get("x-accepted-github-permissions", "")))
    return (
        f"grant {named or '`pull-requests: write`'} to the job; "
        "for a pull request from a fork, let a workflow_run job publish the result"
    )


def _permissions(accepted: str) -> str:
    """Return the sufficient permissions as in a workflow file, ours first."""
    # Semicolons separate alternatives, commas what is needed together.
    choices = [_PERMISSION.findall(choice) for choice in accepted.split(";")]
    ordered = sorted(filter(None, choices), key=lambda choice: "pull_requests" not in dict(choice))
    return " or ".join(
        " and ".join(f"`{name.replace('_', '-')}: {right}`" for name, right in choice)
        for choice in ordered[:_MAX_PERMISSIONS]
    )
