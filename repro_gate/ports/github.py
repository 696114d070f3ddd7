"""Protocols for what is published on GitHub."""

from typing import Protocol

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
