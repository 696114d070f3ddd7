"""Publish the one comment of a run on its pull requests, also when several runs race."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias, assert_never

from repro_gate.core.comments import (
    CiRun,
    CommentMode,
    CommentState,
    Create,
    Keep,
    Marker,
    PostedComment,
    Update,
    action_for,
    no_comment_reason,
)
from repro_gate.errors import CommentGone, PublishFailed
from repro_gate.ports.github import PullRequests

_MAX_ROUNDS = 6
"""Enough to settle a race with other writers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """The comment shows the result of this run."""

    pull_request: int
    url: str
    has_name_clash: bool = False
    """Another job of this run comments under the same name, in a separate comment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPosted:
    """Nothing had to be written."""

    reason: str
    remedy: str | None = None
    """How to get a comment; None when none is missing."""
    pull_request: int | None = None
    """None when there is no pull request."""
    has_name_clash: bool = False
    """Another job of this run comments under the same name."""


Publication: TypeAlias = Posted | NotPosted


class MessageLevel(StrEnum):
    """How much attention a message about publishing needs."""

    LOG = "log"
    """A line in the job log."""
    NOTICE = "notice"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a job shows about the publishing itself."""

    level: MessageLevel
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentAttempt:
    """What came of publishing a comment on every pull request of a run."""

    publications: tuple[Publication, ...] = ()
    messages: tuple[Message, ...] = ()

    @property
    def url(self) -> str | None:
        """The first comment that was posted."""
        return next((one.url for one in self.publications if isinstance(one, Posted)), None)


def try_publish_comment(
    connect: Callable[[], PullRequests],
    *,
    run: CiRun,
    mode: CommentMode,
    ours: Marker,
    body_of: Callable[[Marker], str],
) -> CommentAttempt:
    """Publish the comment of a run; a failure becomes a message and never an exception.

    Args:
        connect: opens the API; called only for a run that can have a comment.
        run: see `publish_comment`, also for the other arguments.
        mode: when to comment.
        ours: the marker of the comment.
        body_of: renders the comment for a marker.
    """
    if mode is CommentMode.NEVER:
        return CommentAttempt()
    reason = no_comment_reason(run)
    if reason is not None:
        return _explained((NotPosted(reason=reason),), ours)
    try:
        published = publish_comment(connect(), run=run, mode=mode, ours=ours, body_of=body_of)
    except PublishFailed as error:
        return CommentAttempt(messages=(_failure(error, run),))
    return _explained(published, ours)


def _failure(error: PublishFailed, run: CiRun) -> Message:
    reason = f"{error.reason} ({error.remedy})" if error.remedy else error.reason
    if run.from_fork and run.is_gitlab:
        text = f"A pipeline of a fork has no token of this project, so there is no note: {reason}"
        return Message(level=MessageLevel.NOTICE, text=text)
    if run.from_fork and not run.from_workflow_run:
        expected = "A run from a fork cannot comment; a workflow triggered by workflow_run can"
        return Message(level=MessageLevel.NOTICE, text=f"{expected}: {reason}")
    text = f"The comment could not be posted: {reason}"
    return Message(level=MessageLevel.WARNING, text=text)


def _explained(published: tuple[Publication, ...], ours: Marker) -> CommentAttempt:
    return CommentAttempt(publications=published, messages=tuple(_messages(published, ours)))


def _messages(published: Sequence[Publication], ours: Marker) -> Iterator[Message]:
    """Yield why there is no comment, and a warning where one is missing."""
    for one in published:
        # When a check starts, a missing comment is no news.
        if isinstance(one, NotPosted) and ours.state is not CommentState.RUNNING:
            if one.remedy is None:
                text = f"repro-gate: no comment was written: {one.reason}"
                yield Message(level=MessageLevel.LOG, text=text)
            else:
                text = f"No comment was written: {one.reason} ({one.remedy})"
                yield Message(level=MessageLevel.WARNING, text=text)
    if any(one.has_name_clash for one in published):
        text = (
            f"Another job of this run also comments as {ours.name}, in a separate comment: "
            "give each gate in a workflow its own artifact-name"
        )
        yield Message(level=MessageLevel.WARNING, text=text)


def publish_comment(
    pull_requests: PullRequests,
    *,
    run: CiRun,
    mode: CommentMode,
    ours: Marker,
    body_of: Callable[[Marker], str],
) -> tuple[Publication, ...]:
    """Publish a result on every pull request of a run, and return the outcome of each.

    The API has no compare-and-swap, so several runs may write at once. Each reads again after
    writing and repairs the order: the younger of two comments is deleted, and a later result that
    an earlier run has overwritten is written again. A run that is delayed between reading and
    writing can still win; a concurrency group of the workflow prevents that.

    The run of a fork does not name its pull request. When several have its commit as their head,
    a finding is published on all of them and a pass on none.

    Two jobs of one run that share a name by mistake get a comment each.

    Args:
        pull_requests: the API.
        run: the run that produced the result.
        mode: when to comment.
        ours: the marker of the comment, for this run alone.
        body_of: renders the comment for a marker, which includes earlier findings.

    Raises:
        PublishFailed: the API refused or failed.
    """
    numbers = pull_requests.of_run(run)
    if not numbers:
        return (NotPosted(reason="no open pull request has the commit of this run as its head"),)
    if run.from_workflow_run and len(numbers) > 1 and ours.state is CommentState.PASSED:
        # They merge into different branches, so the measured code differs.
        return (
            NotPosted(
                reason="several open pull requests have the commit of this run as their head, "
                "and it is unknown for which of them a run of a fork passed",
                remedy="close all of them but one, and run the check again",
            ),
        )
    publisher = _Publisher(pull_requests, mode=mode, ours=ours, body_of=body_of)
    return tuple(publisher.publish(number) for number in numbers)


class _Publisher:
    def __init__(
        self,
        pull_requests: PullRequests,
        *,
        mode: CommentMode,
        ours: Marker,
        body_of: Callable[[Marker], str],
    ) -> None:
        self._pull_requests = pull_requests
        self._mode = mode
        self._ours = ours
        self._body_of = body_of

    def publish(self, number: int) -> Publication:
        """Write the comment of one pull request, and verify that it stands."""
        written: PostedComment | None = None
        known: set[int] = set()
        has_name_clash = False
        for _ in range(_MAX_ROUNDS):
            everything = self._pull_requests.comments(number, like=self._ours)
            found = [one for one in everything if not one.marker.is_result_of_rival(self._ours)]
            has_name_clash = has_name_clash or len(found) < len(everything)
            if written is not None and (standing := _standing(written, found, known)) is not None:
                return Posted(pull_request=number, url=standing.url, has_name_clash=has_name_clash)
            known |= {comment.id for comment in found}
            action = action_for(self._mode, posted=_as_one(found), ours=self._ours)
            match action:
                case Keep(reason=reason, remedy=remedy):
                    self._withdraw(written, found)
                    return NotPosted(
                        pull_request=number,
                        reason=reason,
                        remedy=remedy,
                        has_name_clash=has_name_clash,
                    )
                case Create():
                    written = self._pull_requests.create(number, self._body(None))
                case Update(comment=comment):
                    written = self._updated(comment, found)
                case _:
                    assert_never(action)
        if written is None:
            raise PublishFailed("the comment was deleted before every update")
        return Posted(pull_request=number, url=written.url, has_name_clash=has_name_clash)

    def _updated(
        self, comment: PostedComment, found: Sequence[PostedComment]
    ) -> PostedComment | None:
        """Update the oldest comment and delete the others; None if it was deleted meanwhile."""
        try:
            written = self._pull_requests.update(comment, self._body(comment.marker))
        except CommentGone:
            return None
        for other in found[1:]:
            self._pull_requests.delete(other)
        return written

    def _withdraw(self, written: PostedComment | None, found: Sequence[PostedComment]) -> None:
        """Delete our own new comment when an older comment shows a later run."""
        for other in found[1:]:
            if written is not None and other.id == written.id:
                self._pull_requests.delete(other)

    def _body(self, before: Marker | None) -> str:
        return self._body_of(self._ours.after(before))


def _standing(
    written: PostedComment, found: Sequence[PostedComment], known: set[int]
) -> PostedComment | None:
    """Return the comment that stands after ours was written; None if another round is needed."""
    if not found and written.id not in known:
        # The list may lag behind; a comment that is missing from it must not be posted twice.
        return written
    is_settled = len(found) == 1 and found[0].marker.rank >= written.marker.rank
    return found[0] if is_settled else None


def _as_one(found: Sequence[PostedComment]) -> PostedComment | None:
    """Return the oldest of our comments, with the latest marker and all earlier findings."""
    if not found:
        return None
    latest = max((comment.marker for comment in found), key=lambda marker: marker.rank)
    has_found = any(comment.marker.found for comment in found)
    return replace(found[0], marker=replace(latest, found=has_found))
