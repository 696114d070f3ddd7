"""A history as one page in HTML, complete without a network and without a script."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from repro_gate.core.outcome import Outcome
from repro_gate.core.timeline import PairLine, ServiceLine, Timeline
from repro_gate.reports.history import words
from repro_gate.reports.history.charts import Charts
from repro_gate.reports.html.charts import Chart, Kind, samples
from repro_gate.reports.html.page import render_page
from repro_gate.reports.text.format import amount, plural

_BLOCK: Final = 100
"""Rows of a table that a browser need not lay out while they are out of sight."""
_MAX_CHANGES: Final = 200
_MAX_OUTSIDE: Final = 20
_STATE_CLASSES: Final = {
    Outcome.PASSED: "good",
    Outcome.INCONCLUSIVE: "warn",
    Outcome.FAILED: "bad",
}
KEY: Final = (
    (Kind.BAND, "allowed by the baseline"),
    (Kind.DRAWS, "draws of a session, or their range"),
    (Kind.MIDDLE, "median of a session"),
    (Kind.OUTSIDE, "median outside the band"),
    (Kind.OUTLIER, "outlier"),
    (Kind.GAP, "no valid draw"),
    (Kind.START, "start of a change, by the watch"),
    (Kind.MODEL, "other model"),
    (Kind.FINGERPRINT, "other fingerprint"),
    (Kind.BACKEND, "new backend"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFigure:
    """A cell over time, with its name and figures."""

    number: int
    name: str
    is_alarming: bool
    """Whether its watch has an alarm of it."""
    facts: Sequence[tuple[str, str]]
    chart: Chart


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A session in the table."""

    key: str
    kind: str
    draws: int
    outliers: int
    latency: str
    cost: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A part of the table of sessions."""

    title: str
    rows: Sequence[_Row]

    @property
    def is_full(self) -> bool:
        """Whether its height is the one that the style states."""
        return len(self.rows) == _BLOCK


def render_history_page(timeline: Timeline) -> str:
    """Return the page of a history."""
    charts = Charts.of(timeline)
    page: dict[str, Any] = {
        "headline": words.headline(timeline),
        "state": words.state(timeline),
        "state_class": _state_class(timeline),
        "facts": list(words.facts(timeline)),
        "outside": [
            (timeline.cells.index(line), words.outside_words(line))
            for line in words.outside_now(timeline)[:_MAX_OUTSIDE]
        ],
        "more_outside": max(0, len(words.outside_now(timeline)) - _MAX_OUTSIDE),
        "sections": list(_sections(timeline)),
        "watch": list(words.watch_lines(timeline)),
        "units": words.UNITS,
        "key": KEY,
        "session_chart": charts.sessions(),
        "cells": list(cell_figures(timeline, charts)),
        "pairs": [_pair(pair, charts) for pair in timeline.pairs if pair.points],
        "weights_legend": words.WEIGHTS_LEGEND,
        "ruinous_columns": words.RUINOUS_COLUMNS,
        "services": [(line.policy, list(_service(line, charts))) for line in timeline.services],
        **_lists(timeline),
    }
    return render_page("history/page.html.j2", page=page, samples=samples())


def _lists(timeline: Timeline) -> Mapping[str, Any]:
    """Return the tables, newest first."""
    changes = timeline.changes[::-1][:_MAX_CHANGES]
    rows = list(_rows(timeline))[::-1]
    return {
        "changes": [words.change_row(each, timeline.sessions) for each in changes],
        "change_columns": words.CHANGE_COLUMNS,
        "more_changes": len(timeline.changes) - len(changes),
        "outliers": [words.outlier_row(each, timeline.sessions) for each in timeline.outliers],
        "outlier_columns": words.OUTLIER_COLUMNS,
        "more_outliers": words.hidden_outliers(timeline),
        "kinds": list(dict.fromkeys(row.kind for row in rows)),
        "session_count": plural(len(rows), "session"),
        "blocks": list(_blocks(rows)),
    }


def _state_class(timeline: Timeline) -> str:
    outcome = words.outcome(timeline)
    return "" if outcome is None else _STATE_CLASSES[outcome]


def _sections(timeline: Timeline) -> Iterator[tuple[str, str]]:
    if timeline.watch is not None:
        yield "watch", "Watch"
    yield "cells", "Draws over time"
    if any(pair.points for pair in timeline.pairs):
        yield "weights", "Importance weights"
    yield "service", "Latency and cost"
    yield "changes", "Changes"
    yield "outliers", "Outliers"
    yield "sessions", "Sessions"


def cell_figures(timeline: Timeline, charts: Charts) -> Iterator[tuple[str, Sequence[CellFigure]]]:
    """Yield the cells of each policy."""
    alarming = {alarm.level.stream.cell for alarm in timeline.alarms}
    for policy, lines in groupby(timeline.cells, key=lambda line: line.policy):
        yield (
            policy,
            [
                CellFigure(
                    number=timeline.cells.index(line),
                    name=line.item,
                    is_alarming=line.cell in alarming,
                    facts=tuple(words.cell_facts(line)),
                    chart=charts.cell(line),
                )
                for line in lines
            ],
        )


def _pair(pair: PairLine, charts: Charts) -> Mapping[str, Any]:
    has_khat = any(point.khat is not None for point in pair.points)
    shown = [("Effective sample size, in % of the items", charts.size_share(pair))]
    if has_khat:
        shown.append(("k-hat", charts.khat(pair)))
    return {
        "name": words.pair_name(pair),
        "facts": list(words.pair_facts(pair)),
        "charts": shown,
        "ruinous": [words.ruinous_row(item, charts.timeline.sessions) for item in pair.ruinous],
    }


def _service(line: ServiceLine, charts: Charts) -> Iterator[tuple[str, Chart]]:
    yield "Latency in ms, median of a session", charts.latency(line)
    if any(point.usd is not None for point in line.points):
        yield "Cost of a session in USD", charts.cost(line)


def _rows(timeline: Timeline) -> Iterator[_Row]:
    """Yield the sessions, in order."""
    draws, far = [0] * len(timeline.sessions), [0] * len(timeline.sessions)
    for line in timeline.cells:
        for point in line.points:
            draws[point.session] += len(point.totals)
            far[point.session] += len(point.far)
    usd, latency = _totals(timeline)
    notes = words.session_notes(timeline)
    for number, session in enumerate(timeline.sessions):
        yield _Row(
            key=session.key,
            kind=session.kind.value,
            draws=draws[number],
            outliers=far[number],
            latency=latency.get(number, ""),
            cost=usd.get(number, ""),
            note=notes.get(session.key, ""),
        )


def _totals(timeline: Timeline) -> tuple[Mapping[int, str], Mapping[int, str]]:
    """Return the cost and the largest latency of each session, where known."""
    usd: dict[int, float] = {}
    latency: dict[int, float] = {}
    for line in timeline.services:
        for point in line.points:
            if point.usd is not None:
                usd[point.session] = usd.get(point.session, 0.0) + point.usd
            if point.latency_ms is not None:
                latency[point.session] = max(latency.get(point.session, 0.0), point.latency_ms)
    return (
        {number: amount(value) for number, value in usd.items()},
        {number: f"{value:.0f} ms" for number, value in latency.items()},
    )


def _blocks(rows: Sequence[_Row]) -> Iterator[_Block]:
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        first, last = part[-1].key[:10], part[0].key[:10]
        yield _Block(title=first if first == last else f"{first} to {last}", rows=part)
