"""The issue of a watch: the words of the state, inert and within GitHub's limits."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.watch.epoch import Dismissal
from repro_gate.core.watch.issues import issue_marker_of
from repro_gate.core.watch.night import Uncounted
from repro_gate.core.watch.state import WatchState
from repro_gate.core.watch.status import Seen, WatchStatus
from repro_gate.reports.github.fit import utf8_bytes, utf16_units
from repro_gate.reports.github.issue import render_issue
from repro_gate.reports.watch.words import render_status_markdown
from tests.fakes.nights import alarm_of, night_of, watch_of, watch_report_of
from tests.reports.github.samples import RUN
from tests.reports.github.test_safety import Page, is_inert, texts, unprintable

DRIFT = WatchStatus(
    suite="hosted", watch=watch_of(), report=watch_report_of(alarm_of()), unknown=()
)
QUIET = replace(DRIFT, report=watch_report_of())
UNKNOWN = WatchStatus(
    suite="hosted", watch=None, report=None, unknown=(Inconclusive(reason="x", remedy="y"),)
)


def _with(status: WatchStatus, text: str) -> WatchStatus:
    """Return a status with an untrusted text wherever it can have one."""
    alarm = alarm_of()
    stream = replace(alarm.level.stream, cell=text)
    level = replace(alarm.level, stream=stream)
    night = replace(night_of(1, {}), key=text or "x")
    report = watch_report_of(
        *[replace(alarm, level=level)] * 3,
        largest=(level,),
        uncounted=(Uncounted(night=night, reason=text or "x"),),
        notes=(text,),
    )
    return replace(
        status,
        report=report,
        unknown=(Inconclusive(reason=text or "x", remedy=text or "x"),),
        seen=(Seen(fact="model", before=(text,), since=(text, text)),),
    )


def test_an_issue_shows_the_words_of_the_state() -> None:
    """With what to do about it, and a link to the run."""
    issue = render_issue(DRIFT, run=RUN)
    marker, _, rest = issue.body.partition("\n\n")

    assert marker == str(issue.marker)
    assert rest.startswith(render_status_markdown(DRIFT))
    assert rest.endswith("</sub>\n")
    assert "An alarm ends with `repro-gate watch accept` or `repro-gate watch dismiss`." in rest
    assert f"[Run 17204881234, attempt 2]({RUN.url})" in rest


def test_a_title_does_not_change_while_the_state_is_the_same() -> None:
    """It has no numbers of the last night."""
    later = replace(DRIFT, report=watch_report_of(alarm_of(effect=-0.4), nights=50))
    titles = [render_issue(status, run=RUN).title for status in (DRIFT, later, QUIET, UNKNOWN)]
    assert titles == [
        "repro-gate watch hosted: drift since 2026-02-07",
        "repro-gate watch hosted: drift since 2026-02-07",
        "repro-gate watch hosted: quiet since 2026-01-01",
        "repro-gate watch hosted: unknown",
    ]


def test_a_closed_issue_needs_nobody() -> None:
    """The comment that closes it is the same text."""
    assert "Nothing has to be done, so this issue is closed." in render_issue(QUIET, run=RUN).body


def test_a_marker_has_the_run_and_what_is_committed() -> None:
    """A dismissal makes it another one."""
    dismissal = Dismissal(nights=("2026-02-07-run-1",), reason="x", at="2026-02-08T00:00:00+00:00")
    dismissed = replace(DRIFT, watch=replace(watch_of(), dismissals=(dismissal,)))
    before, after = (render_issue(status, run=RUN).marker for status in (DRIFT, dismissed))

    assert (before.suite, before.state, before.run) == ("hosted", WatchState.DRIFT, RUN.id)
    assert not before.shows_same_state(after)
    assert before.is_of_same_watch(after)


@given(status=st.sampled_from([DRIFT, QUIET, UNKNOWN]), text=texts, limit=st.integers(2500, 65000))
@settings(deadline=None, max_examples=60)
def test_an_issue_is_inert(status: WatchStatus, text: str, limit: int) -> None:
    """It has only our elements and links, its own marker, and the right size."""
    issue = render_issue(_with(status, text), run=RUN, limit=limit)
    page = Page(issue.body)

    assert is_inert(page, RUN, None)
    assert unprintable(issue.body) == set()
    assert (issue_marker_of(issue.body), len(page.comments)) == (issue.marker, 1)
    assert utf16_units(issue.body) <= limit
    assert utf8_bytes(issue.body) <= 262_144
    assert len(issue.title) <= 256


def test_what_does_not_fit_is_named() -> None:
    """The run has it."""
    body = render_issue(_with(DRIFT, "x" * 5000), run=RUN, limit=2_500).body
    assert "**Omitted** to fit GitHub's size limit: the state, see the run." in body


def test_a_limit_has_a_least_value() -> None:
    """The marker and the link always fit."""
    with pytest.raises(ValueError, match="at least 2500"):
        render_issue(DRIFT, run=RUN, limit=2_499)
