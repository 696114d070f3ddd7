"""The issue of a watch: its marker, and when it is written."""

from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.comments import RunId
from repro_gate.core.watch.issues import (
    IssueMarker,
    KeepIssue,
    OpenIssue,
    PostedIssue,
    RefreshIssue,
    ReportState,
    issue_action,
    issue_marker_of,
    needs_attention,
)
from repro_gate.core.watch.state import WatchState

OURS = IssueMarker(
    suite="hosted",
    watch="0123456789abcdef",
    state=WatchState.DRIFT,
    run=RunId(7, 2),
    workflow="nightly.yml",
)
POSTED = PostedIssue(number=12, url="https://github.test/12", is_open=True, marker=OURS)


def test_a_marker_is_read_as_it_was_written() -> None:
    """Whatever follows it is text."""
    assert issue_marker_of(f"{OURS}\r\nanything") == OURS


@pytest.mark.parametrize(
    "body",
    [
        "",
        "text",
        f" {OURS}",
        f"text\n{OURS}",
        str(OURS).replace("drift", "great"),
        str(OURS).replace("suite=hosted", "suite=-"),
        str(OURS).replace("watch/v1", "watch/v2"),
        str(OURS).replace("attempt=2", "attempt=0"),
    ],
)
def test_what_is_no_marker_of_ours_is_none(body: str) -> None:
    """Neither text by others nor a marker of another version is taken for ours."""
    assert issue_marker_of(body) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suite": "Two Words"}, "a name must be"),
        ({"watch": "0123"}, "unreadable"),
        ({"workflow": "--> <b>"}, "unreadable"),
    ],
)
def test_a_value_that_would_break_the_marker_is_refused(
    change: dict[str, Any], message: str
) -> None:
    """It stands in an HTML comment."""
    with pytest.raises(ValueError, match=message):
        replace(OURS, **change)


def test_an_issue_has_a_number() -> None:
    """GitHub counts from 1."""
    with pytest.raises(ValueError, match="number"):
        replace(POSTED, number=0)


def test_the_states_in_which_a_person_has_to_act() -> None:
    """Weak evidence needs nobody, and neither does a watch that learns."""
    states = {state.value for state in WatchState if needs_attention(state)}
    assert states == {"changed", "drift", "unknown"}


@pytest.mark.parametrize("state", WatchState)
def test_an_issue_is_opened_only_when_a_person_has_to_act(state: WatchState) -> None:
    """A quiet watch has no issue."""
    action = issue_action(None, replace(OURS, state=state))
    assert isinstance(action, OpenIssue if needs_attention(state) else KeepIssue)


def test_the_same_state_notifies_nobody() -> None:
    """The text is brought up to date, also in an issue that a person has closed."""
    later = replace(OURS, run=RunId(8, 1))
    for posted in (POSTED, replace(POSTED, is_open=False)):
        assert issue_action(posted, later) == RefreshIssue(posted)


def test_a_quiet_watch_leaves_its_issue_alone() -> None:
    """Also when a person has opened it again to talk about it."""
    quiet = replace(OURS, state=WatchState.QUIET)
    for is_open in (True, False):
        posted = replace(POSTED, marker=quiet, is_open=is_open)
        assert isinstance(issue_action(posted, replace(quiet, run=RunId(8, 1))), KeepIssue)


@pytest.mark.parametrize("is_open", [True, False])
def test_another_alarm_is_reported_in_the_same_issue(*, is_open: bool) -> None:
    """Also when a person has closed it."""
    posted = replace(POSTED, is_open=is_open)
    for change in ({"state": WatchState.UNKNOWN}, {"watch": "f" * 16}):
        assert issue_action(posted, replace(OURS, **change)) == ReportState(posted)


def test_the_end_of_an_alarm_is_reported() -> None:
    """Once; an issue that a person has closed only gets the new state."""
    quiet = replace(OURS, state=WatchState.LEARNING, watch="f" * 16)
    closed = replace(POSTED, is_open=False)
    assert issue_action(POSTED, quiet) == ReportState(POSTED)
    assert issue_action(closed, quiet) == RefreshIssue(closed)


def test_an_earlier_run_does_not_overwrite_a_later_one() -> None:
    """A run that is started again has an older checkout."""
    earlier = replace(OURS, run=RunId(7, 1), state=WatchState.QUIET)
    assert issue_action(POSTED, earlier) == KeepIssue("a later run has already written the issue")


def test_an_issue_belongs_to_a_suite_and_a_workflow() -> None:
    """Accepting or dismissing does not make it another watch."""
    assert OURS.is_of_same_watch(replace(OURS, watch="f" * 16, state=WatchState.QUIET))
    assert not OURS.is_of_same_watch(replace(OURS, suite="other"))
    assert not OURS.is_of_same_watch(replace(OURS, workflow="weekly.yml"))


def test_doing_nothing_has_a_reason() -> None:
    """It is printed."""
    with pytest.raises(ValueError, match="reason"):
        KeepIssue("")
