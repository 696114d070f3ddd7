"""The one issue of a watch: opened, updated and closed as its state changes."""

from collections.abc import Callable

import pytest

from repro_gate.checks.notify import try_notify
from repro_gate.checks.publish import MessageLevel
from repro_gate.core.comments import RunId
from repro_gate.core.watch.issues import IssueMarker, IssueText
from repro_gate.core.watch.state import WatchState
from repro_gate.errors import PublishFailed
from repro_gate.ports.github import Issues
from tests.fakes.issues import MemoryIssues

_EPOCH, _NEXT = "a" * 16, "b" * 16


def _text(state: WatchState, night: int, watch: str = _EPOCH) -> IssueText:
    marker = IssueMarker(suite="hosted", watch=watch, state=state, run=RunId(night, 1))
    return IssueText(marker=marker, title=f"hosted: {state.value}", body=f"{marker}\nState.")


@pytest.fixture
def issues() -> MemoryIssues:
    """Return a repository without an issue."""
    return MemoryIssues()


@pytest.fixture
def tonight(issues: MemoryIssues) -> Callable[..., str]:
    """Return a function that notifies of a state in the next night, and returns what was done."""
    nights = iter(range(1, 100))

    def notify(state: WatchState, watch: str = _EPOCH) -> str:
        message = try_notify(lambda: issues, _text(state, next(nights), watch))
        assert message.level is MessageLevel.LOG
        return message.text

    return notify


def test_a_change_of_a_service_makes_one_issue(
    issues: MemoryIssues, tonight: Callable[..., str]
) -> None:
    """Quiet nights write nothing, and the night after the acceptance closes it."""
    for state in (WatchState.LEARNING, WatchState.QUIET, WatchState.WARNING):
        assert tonight(state).startswith("repro-gate: no issue was written")
    assert issues.asks == []

    said = [tonight(state) for state in (WatchState.CHANGED, WatchState.DRIFT, WatchState.DRIFT)]
    said.append(tonight(WatchState.LEARNING, _NEXT))
    said.append(tonight(WatchState.LEARNING, _NEXT))

    assert issues.asks == [
        *("create 1", "comment 1 drift", "update 1 open"),
        *("update 1 open", "comment 1 learning", "update 1 closed"),
    ]
    url = "https://github.test/1"
    assert said == [
        f"repro-gate: opened the issue {url}",
        f"repro-gate: updated the issue {url}",
        f"repro-gate: brought the issue up to date: {url}",
        f"repro-gate: closed the issue {url}",
        "repro-gate: no issue was written: the state is that of the issue",
    ]


def test_a_night_that_was_not_measured_opens_it_and_the_next_one_closes_it(
    issues: MemoryIssues, tonight: Callable[..., str]
) -> None:
    """Nobody has to accept anything."""
    for state in (WatchState.QUIET, WatchState.UNKNOWN, WatchState.QUIET, WatchState.UNKNOWN):
        tonight(state)

    assert issues.asks == [
        *("create 1", "comment 1 quiet", "update 1 closed"),
        *("comment 1 unknown", "update 1 open"),
    ]
    assert issues.titles == {1: "hosted: unknown"}


def test_an_issue_that_a_person_has_closed_stays_closed(
    issues: MemoryIssues, tonight: Callable[..., str]
) -> None:
    """Until the state changes."""
    tonight(WatchState.DRIFT)
    issues.close(issues.posted[1])
    issues.asks.clear()

    tonight(WatchState.DRIFT)
    tonight(WatchState.QUIET)
    tonight(WatchState.DRIFT)

    assert issues.asks == [
        *("update 1 closed", "update 1 closed"),
        *("comment 1 drift", "update 1 open"),
    ]


def test_two_runs_at_once_leave_one_issue(
    issues: MemoryIssues, tonight: Callable[..., str]
) -> None:
    """The next run closes all but the oldest."""
    for night in (1, 2, 3):
        issues.create("hosted: drift", _text(WatchState.DRIFT, night).body)
    issues.close(issues.posted[2])
    issues.asks.clear()

    tonight(WatchState.DRIFT)

    assert issues.asks == ["close 3", "update 1 open"]


@pytest.mark.parametrize("remedy", ["grant it", None])
def test_a_failure_is_a_warning(remedy: str | None) -> None:
    """It has the remedy, if there is one."""

    def connect() -> Issues:
        raise PublishFailed("no right", remedy=remedy)

    message = try_notify(connect, _text(WatchState.DRIFT, 1))

    assert message.level is MessageLevel.WARNING
    end = " (grant it)" if remedy else ""
    assert message.text == f"The issue could not be written: no right{end}"
