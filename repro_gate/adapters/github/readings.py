"""Comments and pull requests as GitHub writes them; each raises `FieldMissing` for another JSON."""

import re
from typing import Any

from repro_gate.adapters.github.fields import number_at, text_at
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.ci import CiRun
from repro_gate.core.comments import Marker, PostedComment, marker_of
from repro_gate.strict_json import value_at

_URL = re.compile(r"https?://[!-~]{1,1000}")


def marker_in(comment: Any) -> Marker | None:
    """Return the marker that a comment, of whomever, begins with; None for any other text."""
    number_at(comment, "id")
    body = value_at(comment, "body")
    return marker_of(body) if isinstance(body, str) else None


def posted_as(comment: Any, marker: Marker, token: Secret) -> PostedComment:
    """Return a comment of ours."""
    url = text_at(comment, "html_url")
    return PostedComment(
        id=number_at(comment, "id"),
        # It is shown to others as a link.
        url=url if _URL.fullmatch(url) and token.scrub(url) == url else "",
        marker=marker,
    )


def author_of(comment: Any) -> str:
    """Return the login of whoever wrote a comment."""
    return text_at(comment, "user", "login")


def pull_with_head(pull: Any, run: CiRun) -> int | None:
    """Return the number of a pull request whose head is the commit of the run, or None.

    It has to be the same branch of the same owner too: a fork may hold any commit.
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
