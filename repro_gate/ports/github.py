"""Protocols for what is published on GitHub."""

from typing import Protocol

from repro_gate.core.acceptance.request import HeadRun, PullHead, ReportArtifact
from repro_gate.core.comments import CiRun, Marker, PostedComment
from repro_gate.core.watch.issues import IssueMarker, PostedIssue


class PullRequests(Protocol):
    """The pull requests of one repository, and the gate's comments on them.

    Every method raises `PublishFailed`, whose message contains no secret.
    """

    def of_run(self, run: CiRun) -> tuple[int, ...]:
        """Return the open pull requests whose head is the checked commit."""
        ...

    def comments(self, pull_request: int, *, like: Marker) -> tuple[PostedComment, ...]:
        """Return the comments of the gate of a marker, oldest first."""
        ...

    def create(self, pull_request: int, body: str) -> PostedComment:
        """Post a comment; the body starts with its marker."""
        ...

    def update(self, comment: PostedComment, body: str) -> PostedComment:
        """Replace the body of a comment; raises `CommentGone` if it was deleted."""
        ...

    def delete(self, comment: PostedComment) -> None:
        """Delete a comment if it still exists."""
        ...


class Issues(Protocol):
    """The issues of one repository that are ours.

    Every method raises `PublishFailed`, whose message contains no secret.
    """

    def of_watch(self, like: IssueMarker) -> tuple[PostedIssue, ...]:
        """Return the issues of the watch of a marker, oldest first."""
        ...

    def create(self, title: str, body: str) -> PostedIssue:
        """Open an issue; the body starts with its marker."""
        ...

    def comment(self, issue: PostedIssue, body: str) -> None:
        """Comment on an issue, also on a closed one."""
        ...

    def update(self, issue: PostedIssue, title: str, body: str, *, is_open: bool) -> None:
        """Replace title, body and state of an issue."""
        ...

    def close(self, issue: PostedIssue) -> None:
        """Close an issue without a change of its text."""
        ...


class CheckedHeads(Protocol):
    """What GitHub knows of the head of a pull request, its check and who may push to it.

    Every method raises `PublishFailed`, whose message contains no secret.
    """

    def permission_of(self, login: str, user_id: int) -> str:
        """Return the permission of a user on the repository, such as `write`."""
        ...

    def head_of(self, pull_request: int) -> PullHead:
        """Return a pull request with its head."""
        ...

    def run_of(self, head: PullHead, workflow: str) -> HeadRun | None:
        """Return the latest run of a workflow, by its file name, for a head; None without one."""
        ...

    def artifact_of(self, run: HeadRun, name: str) -> ReportArtifact | None:
        """Return the latest artifact of a run with a name; None without one."""
        ...
