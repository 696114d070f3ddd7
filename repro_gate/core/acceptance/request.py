"""A comment that asks to record goldens: what it asks for, and for whom and what it may."""

import re
from dataclasses import dataclass
from typing import Final

from repro_gate.core.comments import RunId
from repro_gate.core.guards import require_at_least, require_text
from repro_gate.errors import AcceptRefused

COMMAND: Final = "/repro-gate accept"
_ID = re.compile(r"[0-9a-f]{8,64}")
_PATTERN = re.compile(r"[A-Za-z0-9*?\[][A-Za-z0-9._*?\[\]!-]{0,199}")
_USAGE: Final = (
    f"write `{COMMAND}`, `{COMMAND} PATTERN` or `{COMMAND} --cause ID` "
    "as the first line of a comment"
)
_WRITERS: Final = frozenset({"admin", "maintain", "write"})
_MAX_BYTES: Final = 1 << 29
"""Of an artifact; far more than the goldens of ten thousand cells need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptComment:
    """The comment of an event, as GitHub describes it."""

    pull_request: int
    login: str
    """Of its author."""
    user_id: int
    created_at: str
    """Like every time here: UTC, ISO 8601 with whole seconds, so that texts are in order."""
    body: str

    def __post_init__(self) -> None:
        require_at_least(1, pull_request=self.pull_request, user_id=self.user_id)
        require_text(login=self.login, created_at=self.created_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which observed changes to record; all of them without a pattern or a cause."""

    only: str | None = None
    """A pattern of the ids of cells."""
    cause: str | None = None
    """The id of a group of changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullHead:
    """A pull request and the branch that it merges."""

    number: int
    is_open: bool
    sha: str
    branch: str
    repository: str | None
    """`owner/name` of the branch; None once the fork is deleted."""
    default_branch: str
    """Of the repository that the pull request is for."""

    def __post_init__(self) -> None:
        require_at_least(1, number=self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRun:
    """The latest run of the workflow of the gate for the head of a pull request."""

    id: RunId
    is_completed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportArtifact:
    """The artifact with the report of a run."""

    id: int
    size_bytes: int
    is_expired: bool
    created_at: str

    def __post_init__(self) -> None:
        require_at_least(1, id=self.id)
        require_at_least(0, size_bytes=self.size_bytes)


def wanted_by(body: str) -> Wanted:
    """Return what the first line of a comment asks for; raises `AcceptRefused`."""
    match body.partition("\n")[0].split():
        case ["/repro-gate", "accept"]:
            return Wanted()
        case ["/repro-gate", "accept", "--cause", id] if _ID.fullmatch(id):
            return Wanted(cause=id)
        case ["/repro-gate", "accept", pattern] if _PATTERN.fullmatch(pattern):
            return Wanted(only=pattern)
        case _:
            raise AcceptRefused("the comment is not understood", remedy=_USAGE)


def require_writer(permission: str) -> None:
    """Raise `AcceptRefused` unless a permission on the repository includes writing to it."""
    if permission not in _WRITERS:
        raise AcceptRefused(
            "the author of the comment has no write access to this repository",
            remedy="ask somebody with write access to comment",
        )


def require_own_branch(pull: PullHead, repository: str) -> None:
    """Raise `AcceptRefused` unless a pull request is from a branch to which may be pushed."""
    if not pull.is_open:
        raise AcceptRefused("the pull request is closed", remedy="reopen it")
    if pull.repository is None or pull.repository.lower() != repository.lower():
        raise AcceptRefused(
            "the pull request is from a fork, whose artifacts are untrusted",
            remedy="measure on a machine of your own, and push the goldens to the fork",
        )
    if pull.branch == pull.default_branch:
        raise AcceptRefused(
            "the branch of the pull request is the default branch, which is not pushed to",
            remedy="open the pull request from another branch",
        )


def require_finished(run: HeadRun | None, workflow: str) -> HeadRun:
    """Return the run of the head; raises `AcceptRefused` if it has none or has not ended."""
    if run is None:
        raise AcceptRefused(
            f"the workflow {workflow} was not run for the head of the pull request",
            remedy="run the check, look at its result, and comment again",
        )
    if not run.is_completed:
        raise AcceptRefused(
            "the check of the head of the pull request has not finished",
            remedy="wait for its result, and comment again",
        )
    return run


def require_report(artifact: ReportArtifact | None, comment: AcceptComment) -> ReportArtifact:
    """Return the artifact that the author of a comment has seen; raises `AcceptRefused`."""
    again = "run the check again, look at its result, and comment again"
    if artifact is None:
        raise AcceptRefused("the run of the head has no artifact with the report", remedy=again)
    if artifact.is_expired:
        raise AcceptRefused("the artifact of the run has expired", remedy=again)
    if artifact.size_bytes > _MAX_BYTES:
        raise AcceptRefused(
            f"the artifact of the run has more than {_MAX_BYTES} bytes", remedy=again
        )
    if artifact.created_at > comment.created_at:
        raise AcceptRefused(
            "the result of the check is newer than the comment, so it may show something else",
            remedy="look at the latest result, and comment again",
        )
    return artifact
