"""The status of a watch: which state it has, and its exit code."""

import pytest

from repro_gate.core.outcome import ExitCode
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.watch.state import WatchReport, WatchState
from repro_gate.core.watch.status import (
    WatchStatus,
    exit_code_of,
    not_open,
    without_recent_night,
)
from tests.fakes.nights import alarm_of, epoch_of, watch_of, watch_report_of

LOST = Inconclusive(reason="lost", remedy=None)
QUIET, DRIFT = watch_report_of(), watch_report_of(alarm_of())
CHANGED = watch_report_of(alarm_of(is_drift=False), state=WatchState.CHANGED)
LAST = "2026-02-07"


def _status(report: WatchReport | None, *unknown: Inconclusive) -> WatchStatus:
    return WatchStatus(suite="hosted", watch=watch_of(), report=report, unknown=unknown)


@pytest.mark.parametrize(
    ("status", "state", "since"),
    [
        (_status(QUIET), WatchState.QUIET, "2026-01-01"),
        (_status(QUIET, LOST), WatchState.UNKNOWN, None),
        (_status(CHANGED, LOST), WatchState.UNKNOWN, None),
        (_status(DRIFT, LOST), WatchState.DRIFT, "2026-02-07"),
        (_status(None, LOST), WatchState.UNKNOWN, None),
    ],
)
def test_only_a_drift_stands_where_now_is_unknown(
    status: WatchStatus, state: WatchState, since: str | None
) -> None:
    """What is not known is never quiet, and never hides a drift."""
    assert (status.state, status.since) == (state, since)


def test_a_watch_without_nights_is_unknown_for_a_reason() -> None:
    """Else it would be nothing at all."""
    with pytest.raises(ValueError, match="unknown for a reason"):
        _status(None)


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ({WatchState.DRIFT}, ExitCode.FINDINGS),
        ({WatchState.UNKNOWN}, ExitCode.INCONCLUSIVE),
        (set(WatchState) - {WatchState.DRIFT, WatchState.UNKNOWN}, ExitCode.PASSED),
    ],
)
def test_the_state_decides_the_exit_code(states: set[WatchState], code: ExitCode) -> None:
    """Only a drift is a finding, and only the unknown is inconclusive."""
    assert {exit_code_of(state) for state in states} == {code}


@pytest.mark.parametrize(
    ("now", "is_old"), [(LAST, False), ("2026-02-09", False), ("2026-02-10", True)]
)
def test_three_days_without_a_night_are_unknown(now: str, is_old: bool) -> None:  # noqa: FBT001
    """The last complete night is that of February 7."""
    found = without_recent_night(epoch_of(), QUIET, now=f"{now}T05:00:00+00:00")

    assert (found is not None) == is_old


@pytest.mark.parametrize(("now", "is_to_come"), [("2026-02-06", False), ("2026-02-05", True)])
def test_a_night_that_is_to_come_is_unknown(now: str, is_to_come: bool) -> None:  # noqa: FBT001
    """A wrong clock does not hide that nights are missing; a day may be the time of midnight."""
    found = without_recent_night(epoch_of(), QUIET, now=f"{now}T05:00:00+00:00")

    assert ("to come" in str(found)) == is_to_come


@pytest.mark.parametrize("report", [None, watch_report_of(last=None)])
def test_no_night_is_unknown(report: WatchReport | None) -> None:
    """With the command that makes one."""
    found = without_recent_night(epoch_of(), report, now=LAST)

    assert found is not None
    assert found.remedy is not None
    assert found.remedy.startswith("repro-gate watch night --suite hosted, or fetch the history")


def test_what_is_not_open_has_a_remedy() -> None:
    """The command that opens it."""
    assert "repro-gate watch open --suite hosted" in str(not_open("hosted").remedy)
