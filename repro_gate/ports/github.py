"""Protocols for what is published on GitHub."""

from typing import Protocol

from repro_gate.core.comments import CiRun, Marker, PostedComment


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
