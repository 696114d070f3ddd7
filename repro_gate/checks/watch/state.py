"""The state of a watch, from its committed epoch, its nights, the matrix and the time of day."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from repro_gate.core.history import CellSession, Session, SessionKind
from repro_gate.core.logprobs.policy import LogprobPlan
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.watch.changes import epoch_changes
from repro_gate.core.watch.epoch import Epoch, Watch
from repro_gate.core.watch.night import Night
from repro_gate.core.watch.state import WatchReport
from repro_gate.core.watch.status import (
    Seen,
    WatchStatus,
    not_open,
    not_the_same,
    without_recent_night,
)
from repro_gate.ports.history import HistoryReader
from repro_gate.statistics.watch import evaluate

_FACTS: Final[Mapping[str, Callable[[CellSession], tuple[str, ...]]]] = {
    "model": lambda drawn: drawn.models,
    "fingerprint": lambda drawn: drawn.fingerprints,
    "backend": lambda drawn: drawn.backends,
}
"""What answers report of who answered."""


def status_of(
    plan: LogprobPlan, watch: Watch | None, *, history: HistoryReader, now: str
) -> WatchStatus:
    """Return the status of the watch of a suite.

    Args:
        plan: all cells of the suite, as the matrix has them now.
        watch: the committed watch; None when none is open.
        history: the stored nights.
        now: the time, ISO 8601, UTC.
    """
    suite = plan.suite.name
    if watch is None:
        return WatchStatus(suite=suite, watch=None, report=None, unknown=(not_open(suite),))
    nights = stored_nights(watch.epoch, history)
    report = evaluate(watch, nights) if nights else None
    return WatchStatus(
        suite=suite,
        watch=watch,
        report=report,
        unknown=tuple(_unknown(plan, watch.epoch, report, now=now)),
        seen=() if report is None else tuple(_seen(watch.epoch, report, history)),
    )


def stored_nights(epoch: Epoch, history: HistoryReader) -> tuple[Night, ...]:
    """Return every stored night of an epoch, with why it cannot count where that is known."""
    totals: dict[str, dict[str, tuple[float, ...]]] = defaultdict(dict)
    others: dict[str, str] = {}
    for session, drawn in history.points(epoch.suite):
        if _is_of(session, epoch):
            totals[session.key][drawn.cell.id] = drawn.totals
            watched = epoch.cells.get(drawn.cell.id)
            if watched is not None and drawn.cell.definition != watched.definition_digest:
                others[session.key] = f"{drawn.cell.id} was drawn by another definition"
    return tuple(
        Night(
            key=session.key,
            date=session.started_at[:10],
            started_at=session.started_at,
            totals=totals[session.key],
            problem=others.get(session.key)
            if session.is_closed
            else "it was interrupted, or is still being drawn",
        )
        for session in history.sessions(epoch.suite)
        if _is_of(session, epoch)
    )


def _is_of(session: Session, epoch: Epoch) -> bool:
    return session.kind is SessionKind.NIGHT and session.epoch == epoch.digest


def _unknown(
    plan: LogprobPlan, epoch: Epoch, report: WatchReport | None, *, now: str
) -> Iterator[Inconclusive]:
    changes = tuple(epoch_changes(epoch, plan.cells))
    if changes:
        yield not_the_same(epoch.suite, changes)
    if report is not None and report.unknown is not None:
        remedy = f"repro-gate watch night --suite {epoch.suite} draws the next night"
        yield Inconclusive(reason=report.unknown, remedy=remedy)
    old = without_recent_night(epoch, report, now=now)
    if old is not None:
        yield old


def _seen(epoch: Epoch, report: WatchReport, history: HistoryReader) -> Iterator[Seen]:
    """Yield who answered before the earliest standing alarm and since, where answers name it."""
    if not report.alarms:
        return
    start = min(alarm.start.date for alarm in report.alarms)
    drawn = [
        (session.started_at[:10] >= start, points)
        for session, points in history.points(epoch.suite)
        if _is_of(session, epoch)
    ]
    for fact, values_of in _FACTS.items():
        values = [
            {
                value
                for is_since, points in drawn
                if is_since is wanted
                for value in values_of(points)
            }
            for wanted in (False, True)
        ]
        before, since = (tuple(sorted(each)) for each in values)
        if before or since:
            yield Seen(fact=fact, before=before, since=since)
