"""The status of a watch in words, for a terminal and in Markdown."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final, TypeAlias, assert_never

from repro_gate.core.outcome import ExitCode, Outcome
from repro_gate.core.watch.epoch import Epoch
from repro_gate.core.watch.state import (
    WARNING_SHARE,
    Alarm,
    Level,
    StreamKind,
    WatchReport,
    WatchState,
)
from repro_gate.core.watch.status import WatchStatus, exit_code_of
from repro_gate.reports.text.escape import Escape, clipped, log_line
from repro_gate.reports.text.format import percent, plural, shifted
from repro_gate.reports.text.markdown import code, document, mark

WIDTH: Final = 100
_LABEL_WIDTH: Final = 10
_MAX_LISTED: Final = 5
_MAX_NAME: Final = 60
_MAX_UNKNOWN: Final = 600
_MAX_REASON: Final = 300
DIGEST_LENGTH: Final = 16
"""Characters of the digest of an epoch that name it, in messages and in the history."""
Line: TypeAlias = tuple[str, str]
"""A label and its text, in which untrusted text is escaped."""


def headline_of(status: WatchStatus) -> str:
    """Return the state as a line without untrusted text."""
    since = "" if status.since is None else f" since {status.since}"
    return f"watch {status.suite}: {status.state.value}{since}"


def render_status(status: WatchStatus) -> str:
    """Return the status in lines of at most 100 columns, but for long words."""
    lines = [headline_of(status)]
    for label, text in status_lines(status, _plain):
        start = f"  {label:<{_LABEL_WIDTH}}"
        lines += wrap(
            text,
            WIDTH,
            initial_indent=start,
            subsequent_indent=" " * len(start),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "".join(f"{line}\n" for line in lines)


def render_status_markdown(status: WatchStatus) -> str:
    """Return the status as Markdown, in which untrusted text is inert."""
    return document(
        [
            [f"### {mark(outcome_of_state(status.state))} {headline_of(status)}"],
            [f"- **{label}**: {text}" for label, text in status_lines(status, code)],
        ]
    )


def status_lines(status: WatchStatus, escape: Escape) -> Iterator[Line]:
    """Yield what is known of a watch, what is not, and what to do about it.

    Args:
        status: the status.
        escape: makes untrusted text safe in the format of the report.
    """
    for unknown in status.unknown:
        yield "unknown", escape(clipped(unknown.reason, _MAX_UNKNOWN))
        if unknown.remedy:
            yield "try", escape(clipped(unknown.remedy, _MAX_UNKNOWN))
    if status.watch is None:
        return
    if status.report is not None:
        yield from _report_lines(status, status.report, escape)
    yield "epoch", _epoch(status.watch.epoch, escape)
    yield from _advice(status, status.watch.epoch, escape)


def _report_lines(status: WatchStatus, report: WatchReport, escape: Escape) -> Iterator[Line]:
    yield from _found_lines(report, escape)
    for seen in status.seen:
        before, since = (_values(values, escape) for values in (seen.before, seen.since))
        other = " and since" if seen.before == seen.since else f": {before}; since"
        yield "seen", f"{seen.fact} before the change{other}: {since}"
    yield "nights", _nights(report)
    for each in report.uncounted[-_MAX_LISTED:]:
        yield "uncounted", f"{escape(each.night.key)}: {escape(clipped(each.reason, _MAX_REASON))}"
    for note in report.notes[:_MAX_LISTED]:
        yield "note", escape(clipped(note, _MAX_REASON))
    if not report.alarms:
        yield "sight", _sight(report)


def _found_lines(report: WatchReport, escape: Escape) -> Iterator[Line]:
    """Yield the alarms, the weak evidence beside them, and whether the change is over."""
    subjects: dict[str | None, list[Alarm]] = {}
    for alarm in report.alarms:
        subjects.setdefault(alarm.level.stream.cell, []).append(alarm)
    for cell, alarms in list(subjects.items())[:_MAX_LISTED]:
        yield "alarm", _alarm(_subject(cell, escape), alarms)
    if len(subjects) > _MAX_LISTED:
        yield "alarm", f"{plural(len(subjects) - _MAX_LISTED, 'more cell')}"
    for level in report.largest:
        if level.evidence >= WARNING_SHARE * level.threshold:
            yield "weak", _level(level, escape)
    if report.returned is not None:
        date = report.returned.date
        yield "returned", f"the values are among the earlier ones again since the night of {date}"


def _alarm(subject: str, alarms: Sequence[Alarm]) -> str:
    """Return the alarms of one cell, or of all cells together."""
    start = min(alarm.start.date for alarm in alarms)
    found = min(alarm.night.date for alarm in alarms)
    measures = (
        f"{_measure(alarm.level.stream.kind)} from {_value(alarm, alarm.before)} to "
        f"{_value(alarm, alarm.after)}"
        for alarm in alarms
    )
    effect = max((alarm.effect for alarm in alarms), key=abs)
    below = "" if any(alarm.is_drift for alarm in alarms) else ", below the floor"
    return (
        f"{subject}, from about the night of {start} on, found in that of {found}: "
        f"{'; '.join(measures)}; shift {shifted(effect)} nats{below}"
    )


def _level(level: Level, escape: Escape) -> str:
    share = percent(level.evidence / level.threshold)
    subject = _subject(level.stream.cell, escape)
    return f"{subject}: {_measure(level.stream.kind)}, {share} of an alarm; not certain"


def _subject(cell: str | None, escape: Escape) -> str:
    return "all cells" if cell is None else escape(cell)


def _measure(kind: StreamKind) -> str:
    match kind:
        case StreamKind.MEDIAN:
            return "median distance"
        case StreamKind.MEAN:
            return "mean distance"
        case StreamKind.CHANGED:
            return "draws off the reference"
        case StreamKind.FAR:
            return "far draws"
        case _:
            assert_never(kind)


def _value(alarm: Alarm, value: float) -> str:
    kind = alarm.level.stream.kind
    match kind:
        case StreamKind.MEDIAN | StreamKind.MEAN:
            return f"{shifted(value)} nats"
        case StreamKind.CHANGED | StreamKind.FAR:
            return percent(value)
        case _:
            assert_never(kind)


def _values(values: Sequence[str], escape: Escape) -> str:
    shown = [escape(value[:_MAX_NAME]) for value in values[:_MAX_LISTED]]
    more = [f"{len(values) - _MAX_LISTED} more"] if len(values) > _MAX_LISTED else []
    return ", ".join([*shown, *more]) or "none"


def _nights(report: WatchReport) -> str:
    last = "" if report.last is None else f", the last of {report.last.date}"
    uncounted = len(report.uncounted)
    others = "" if not uncounted else f"; {plural(uncounted, 'stored one')} not counted"
    return f"{report.nights} counted{last}{others}"


def _sight(report: WatchReport) -> str:
    sight = report.sight
    return (
        f"after {plural(sight.nights, 'night')} without a change, a change of all cells "
        f"{_found_after(sight.suite)}, and one of a single cell {_found_after(sight.cell)}, if "
        "every changed night is beyond all before it"
    )


def _found_after(nights: int | None) -> str:
    return "is not found" if nights is None else f"has to last {plural(nights, 'night')}"


def _epoch(epoch: Epoch, escape: Escape) -> str:
    return (
        f"{epoch.digest[:DIGEST_LENGTH]}, since {escape(epoch.opened_at[:10])}: "
        f"{plural(epoch.draws, 'draw')} of {plural(len(epoch.cells), 'cell')} a night; at most "
        f"{percent(epoch.rate)} of unchanged services have an alarm in {epoch.nights} nights"
    )


def _advice(status: WatchStatus, epoch: Epoch, escape: Escape) -> Iterator[Line]:
    match status.state:
        case WatchState.DRIFT | WatchState.CHANGED:
            suite = f"--suite {status.suite}"
            yield (
                "keep",
                "if the service stays as it is now: "
                + escape(f"repro-gate record-baseline {suite} --again")
                + ", then "
                + escape(f"repro-gate watch accept {suite} --reason TEXT"),
            )
            yield (
                "or",
                "if the change is over, or was none: "
                + escape(f"repro-gate watch dismiss {suite} --reason TEXT"),
            )
        case WatchState.WARNING:
            share = percent(min(1.0, epoch.rate / WARNING_SHARE))
            also = f"up to {share} of unchanged services have a warning in {epoch.nights} nights"
            yield "do", f"wait for the next nights: {also}"
        case WatchState.LEARNING | WatchState.QUIET | WatchState.UNKNOWN:
            return
        case _:
            assert_never(status.state)


def outcome_of_state(state: WatchState) -> Outcome:
    """Return the outcome that a state is shown as."""
    match exit_code_of(state):
        case ExitCode.PASSED:
            return Outcome.PASSED
        case ExitCode.FINDINGS:
            return Outcome.FAILED
        case _:
            return Outcome.INCONCLUSIVE


def _plain(text: str) -> str:
    return log_line(text)
