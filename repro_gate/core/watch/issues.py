"""The one issue of a watch: its marker, and when it is written."""

import re
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from repro_gate.core.comments import RunId
from repro_gate.core.guards import require_at_least, require_name, require_text
from repro_gate.core.text import digest_of
from repro_gate.core.watch.epoch import Watch
from repro_gate.core.watch.state import WatchState

_FILE = re.compile(r"[A-Za-z0-9._-]{0,100}")
_DIGEST = re.compile(r"[0-9a-f]{16}")
_MARKER = re.compile(
    r"<!-- repro-gate/watch/v1 workflow=(?P<workflow>[A-Za-z0-9._-]{0,100})"
    r" suite=(?P<suite>[a-z0-9._-]{1,64}) watch=(?P<watch>[0-9a-f]{16}) state=(?P<state>[a-z]+)"
    r" run=(?P<run>[0-9]{1,19}) attempt=(?P<attempt>[0-9]{1,9}) -->"
)


def watch_key(watch: Watch | None) -> str:
    """Return the key of the committed part of a watch; accepting or dismissing changes it."""
    content = None if watch is None else [watch.epoch.digest, sorted(watch.dismissed)]
    return digest_of(content)[:16]


def needs_attention(state: WatchState) -> bool:
    """Return whether a person has to act before a watch can pass again."""
    match state:
        case WatchState.CHANGED | WatchState.DRIFT | WatchState.UNKNOWN:
            return True
        case WatchState.LEARNING | WatchState.QUIET | WatchState.WARNING:
            return False
        case _:
            assert_never(state)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueMarker:
    """The hidden first line of an issue, an HTML comment, which no untrusted text can contain."""

    suite: str
    watch: str
    """See `watch_key`."""
    state: WatchState
    run: RunId
    """The run that wrote it."""
    workflow: str = ""
    """See `repro_gate.core.comments.workflow_key`."""

    def __post_init__(self) -> None:
        require_name(self.suite)
        if not _FILE.fullmatch(self.workflow) or not _DIGEST.fullmatch(self.watch):
            raise ValueError(f"the marker would be unreadable: {str(self)!r}")

    def __str__(self) -> str:
        """Return the line."""
        return (
            f"<!-- repro-gate/watch/v1 workflow={self.workflow} suite={self.suite} "
            f"watch={self.watch} state={self.state.value} run={self.run.run} "
            f"attempt={self.run.attempt} -->"
        )

    def is_of_same_watch(self, other: "IssueMarker") -> bool:
        """Return whether two issues are about one suite, also before and after an acceptance."""
        return (self.workflow, self.suite) == (other.workflow, other.suite)

    def shows_same_state(self, other: "IssueMarker") -> bool:
        """Return whether nothing has happened between two markers of one watch."""
        return (self.watch, self.state) == (other.watch, other.state)


def issue_marker_of(body: str) -> IssueMarker | None:
    """Return the marker on the first line of the body of an issue, or None."""
    parts = _MARKER.fullmatch(body.partition("\n")[0].rstrip("\r"))
    if parts is None or parts["state"] not in set(WatchState):
        return None
    try:
        return IssueMarker(
            workflow=parts["workflow"],
            suite=parts["suite"],
            watch=parts["watch"],
            state=WatchState(parts["state"]),
            run=RunId(int(parts["run"]), int(parts["attempt"])),
        )
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedIssue:
    """An existing issue of this tool."""

    number: int
    url: str
    is_open: bool
    marker: IssueMarker

    def __post_init__(self) -> None:
        require_at_least(1, number=self.number)


@dataclass(frozen=True, slots=True)
class OpenIssue:
    """Open a new issue."""


@dataclass(frozen=True, slots=True)
class RefreshIssue:
    """Replace the body, which notifies nobody: the state is the same."""

    issue: PostedIssue


@dataclass(frozen=True, slots=True)
class ReportState:
    """Comment, and replace title, body and whether the issue is open: the state has changed."""

    issue: PostedIssue


@dataclass(frozen=True, slots=True)
class KeepIssue:
    """Write nothing."""

    reason: str

    def __post_init__(self) -> None:
        require_text(reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueText:
    """The text of an issue."""

    marker: IssueMarker
    title: str
    body: str
    """Starts with the marker; is also the comment on a changed state."""


IssueAction: TypeAlias = OpenIssue | RefreshIssue | ReportState | KeepIssue


def issue_action(posted: PostedIssue | None, ours: IssueMarker) -> IssueAction:
    """Return what to do with the issue of a watch.

    A person may close it while an alarm stands: it stays closed until the state changes.
    """
    is_standing = needs_attention(ours.state)
    if posted is None:
        return OpenIssue() if is_standing else KeepIssue(f"{ours.state.value} needs no issue")
    if posted.marker.run > ours.run:
        return KeepIssue("a later run has already written the issue")
    if not posted.marker.shows_same_state(ours):
        # Between two states that need nobody there is nothing to report.
        return ReportState(posted) if is_standing or posted.is_open else RefreshIssue(posted)
    return RefreshIssue(posted) if is_standing else KeepIssue("the state is that of the issue")
