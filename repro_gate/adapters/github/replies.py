"""What a reply is good for: it is there, it may come another time, or it is refused."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from repro_gate.adapters.github.fields import field_at, items_in, parsed
from repro_gate.adapters.github.retrying import TryAgain
from repro_gate.adapters.http.client import Reply, target_of
from repro_gate.adapters.http.secret import Secret
from repro_gate.errors import PublishFailed

_MOST_ERRORS = 5
_MOST_NAMED = 3
_SECONDARY_S = 60.0
"""What GitHub asks for where it limits without saying for how long."""
_PERMISSION = re.compile(r"([a-z_]{1,50})=(read|write|admin)")
_REMEDIES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "give the step a token that is valid, such as ${{ github.token }}",
    HTTPStatus.NOT_FOUND: "look at whether the token may see this repository and pull request",
}
_NO_MATTER_OF_RIGHTS: Mapping[str, str] = {
    "locked": "unlock the conversation of the pull request",
    "archived": "unarchive the repository",
    "commenting is disabled": "open another pull request: this one has too many comments",
}


class Refused(PublishFailed):
    """The server understands and will not do it."""

    def __init__(self, reason: str, *, status: int, remedy: str | None = None) -> None:
        super().__init__(reason, remedy=remedy)
        self.status = status


def require_success(reply: Reply, token: Secret, *, now: datetime) -> None:
    """Return when a reply says that all is well.

    Raises:
        TryAgain: the server may do it another time.
        Refused: it will not, as the request is.
        PublishFailed: it answers in a way that we do not follow.
    """
    status = reply.status
    if 200 <= status < 300:  # noqa: PLR2004 -- the class of success
        return
    if 300 <= status < 400:  # noqa: PLR2004 -- the class of redirects
        raise PublishFailed(
            f"GitHub: status {status}: a redirect to {target_of(reply, token)} is not followed",
            remedy="if the repository was renamed or moved, run the job again under its new name",
        )
    reason = _reason(reply, token)
    limited_s = _limited_s(reply, now)
    if limited_s is not None:
        raise TryAgain(f"{reason} (a rate limit)", after_s=limited_s)
    if status >= 500 or status == HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004 -- server errors
        raise TryAgain(reason, may_be_done=True, after_s=_seconds(reply.headers, "retry-after"))
    raise Refused(reason, status=status, remedy=_remedy_for(reply, token))


def document_of(reply: Reply) -> Any:
    """Return the JSON of a reply that says that all is well; raises `TryAgain`."""
    try:
        return parsed(reply.body)
    except ValueError as error:
        raise TryAgain("GitHub: the answer is no JSON", may_be_done=True) from error


def _limited_s(reply: Reply, now: datetime) -> float | None:
    """Return how long a rate limit asks to wait; None when the reply is about something else."""
    if reply.status not in {HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}:
        return None
    asked = _seconds(reply.headers, "retry-after")
    if asked is not None:
        return asked
    if reply.headers.get("x-ratelimit-remaining", "").strip() == "0":
        reset = _seconds(reply.headers, "x-ratelimit-reset")
        if reset is not None:
            # GitHub counts whole seconds, and our clock may be a little ahead of its own.
            return max(0.0, reset - now.timestamp()) + 1.0
    says_so = "rate limit" in _words_of(reply).lower()
    return _SECONDARY_S if says_so or reply.status == HTTPStatus.TOO_MANY_REQUESTS else None


def _seconds(headers: Mapping[str, str], name: str) -> float | None:
    try:
        number = float(headers.get(name, ""))
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _reason(reply: Reply, token: Secret) -> str:
    try:
        phrase = f" ({HTTPStatus(reply.status).phrase})"
    except ValueError:
        phrase = ""
    said = token.quote(_words_of(reply))
    return f"GitHub: status {reply.status}{phrase}" + (f": {said}" if said else "")


def _words_of(reply: Reply) -> str:
    """Return the server's own words about an error; a page of HTML is none."""
    try:
        document = parsed(reply.body)
    except ValueError:
        return ""
    more = items_in(field_at(document, "errors"))[:_MOST_ERRORS]
    words = [field_at(document, "message"), *(_words_of_error(error) for error in more)]
    return ": ".join(word for word in words if isinstance(word, str))


def _words_of_error(error: Any) -> Any:
    if isinstance(error, str):
        return error
    return field_at(error, "message") or field_at(error, "code")


def _remedy_for(reply: Reply, token: Secret) -> str | None:
    if reply.status != HTTPStatus.FORBIDDEN:
        return _REMEDIES.get(reply.status)
    said = _words_of(reply).lower()
    for word, remedy in _NO_MATTER_OF_RIGHTS.items():
        if word in said:
            return remedy
    named = _permissions(token.quote(reply.headers.get("x-accepted-github-permissions", "")))
    return (
        f"grant {named or '`pull-requests: write`'} to the job; "
        "for a pull request from a fork, let a workflow_run job publish the result"
    )


def _permissions(accepted: str) -> str:
    """Return in the words of a workflow which permissions would do, that of ours first."""
    # Semicolons stand between alternatives, commas between what is needed together.
    choices = [_PERMISSION.findall(choice) for choice in accepted.split(";")]
    ordered = sorted(filter(None, choices), key=lambda choice: "pull_requests" not in dict(choice))
    return " or ".join(
        " and ".join(f"`{name.replace('_', '-')}: {right}`" for name, right in choice)
        for choice in ordered[:_MOST_NAMED]
    )
