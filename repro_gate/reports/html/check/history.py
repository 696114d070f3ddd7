"""The history of the cells that do not agree, as the page of a history shows them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from repro_gate.core.timeline import KeptHistory, Timeline
from repro_gate.reports.history import words
from repro_gate.reports.history.charts import Charts
from repro_gate.reports.history.page import KEY, CellFigure, cell_figures
from repro_gate.reports.html.charts import Kind
from repro_gate.reports.text.format import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteHistory:
    """A suite over time."""

    number: int
    name: str
    """Untrusted."""
    sessions: str
    """How many, and from when to when."""
    policies: Sequence[tuple[str, Sequence[CellFigure]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The history of a check."""

    suites: Sequence[SuiteHistory]
    left_out: int
    """Cells that do not agree and are not shown."""
    problem: str | None
    """Untrusted."""
    key: Sequence[tuple[Kind, str]] = KEY
    units: str = words.UNITS


def history_of(kept: KeptHistory | None) -> History | None:
    """Return what the page shows of a history; None where there is nothing."""
    suites = () if kept is None else tuple(_suites(kept.timelines))
    if kept is None or not (suites or kept.problem):
        return None
    return History(suites=suites, left_out=kept.left_out, problem=kept.problem)


def _suites(timelines: Sequence[Timeline]) -> Iterator[SuiteHistory]:
    for number, timeline in enumerate(timelines, 1):
        if timeline.sessions:
            yield SuiteHistory(
                number=number,
                name=timeline.suite,
                sessions=_sessions(timeline),
                policies=tuple(cell_figures(timeline, Charts.of(timeline))),
            )


def _sessions(timeline: Timeline) -> str:
    dates = [session.date.isoformat() for session in timeline.sessions]
    counted = plural(len(dates), "session")
    return (
        f"{counted}, {dates[0]}"
        if len(set(dates)) == 1
        else f"{counted}, {dates[0]} to {dates[-1]}"
    )
