"""The one comment on a pull request: whose it is, what it says, and when it is written."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from repro_gate.core.ci import RunId

DEFAULT_NAME = "repro-gate"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MARKER = re.compile(
    r"<!-- repro-gate/comment/v1 name=(?P<name>[A-Za-z0-9._-]{1,100}) run=(?P<run>[0-9]{1,19})"
    r" attempt=(?P<attempt>[0-9]{1,9}) state=(?P<state>[a-z]+) found=(?P<found>yes|no) -->"
)


class CommentMode(StrEnum):
    """When a pull request gets a comment."""

    AUTO = "auto"
    """When there is something to say, and then until the end, so that it is always current."""
    ALWAYS = "always"
    NEVER = "never"


class CommentState(StrEnum):
    """What a comment says of its run."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    BROKEN = "broken"
    """The run gave no verdict: it was interrupted, was killed or could not begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """The hidden first line of a comment.

    It is an HTML comment, and no text of a model or a file can contain one: see
    `repro_gate.reports.markdown_text`.
    """

    name: str
    """Tells the configurations of one repository apart; the name of the artifact."""
    run: RunId
    state: CommentState
    found: bool = False
    """Whether this run, or one before it on the same pull request, had findings."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                "a name has 1 to 100 letters, digits, dots, dashes and underscores, "
                f"got {self.name!r}"
            )

    def __str__(self) -> str:
        """Return the line."""
        found = "yes" if self.found else "no"
        return (
            f"<!-- repro-gate/comment/v1 name={self.name} run={self.run.run} "
            f"attempt={self.run.attempt} state={self.state.value} found={found} -->"
        )

    def after(self, before: "Marker | None") -> "Marker":
        """Return the marker of a comment that takes the place of another one."""
        return self if before is None else replace(self, found=self.found or before.found)


def marker_of(body: str) -> Marker | None:
    """Return the marker that a comment begins with, or None; anything else in it is text."""
    parts = _MARKER.fullmatch(body.partition("\n")[0].rstrip("\r"))
    if parts is None or parts["state"] not in set(CommentState):
        return None
    try:
        return Marker(
            name=parts["name"],
            run=RunId(int(parts["run"]), int(parts["attempt"])),
            state=CommentState(parts["state"]),
            found=parts["found"] == "yes",
        )
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedComment:
    """A comment of ours, as it stands on a pull request."""

    id: int
    url: str
    marker: Marker


@dataclass(frozen=True, slots=True)
class Create:
    """There is no comment yet, and there is something to say."""


@dataclass(frozen=True, slots=True)
class Update:
    """A comment takes on what this run says."""

    comment: PostedComment


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing is written."""

    reason: str


CommentAction: TypeAlias = Create | Update | Keep


def action_for(mode: CommentMode, *, posted: PostedComment | None, ours: Marker) -> CommentAction:
    """Return what to do on a pull request that has this comment of ours, or none."""
    if mode is CommentMode.NEVER:
        return Keep("comments are turned off")
    if posted is not None:
        if posted.marker.run > ours.run:
            return Keep("a later run has already told its result")
        return Update(posted)
    if ours.state is CommentState.RUNNING:
        return Keep("there is no comment that could be out of date")
    if mode is CommentMode.AUTO and ours.state is CommentState.PASSED:
        return Keep("all is well, and nothing else was ever said")
    return Create()
