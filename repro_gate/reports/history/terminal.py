"""A history on a terminal: the state, a line for each cell, then what is unusual."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from statistics import median
from typing import Final

from rich.console import Console
from rich.text import Text

from repro_gate.core.timeline import CellLine, PairLine, ServiceLine, Timeline
from repro_gate.reports.history import words
from repro_gate.reports.history.charts import value_axis
from repro_gate.reports.html.svg import Axis
from repro_gate.reports.terminal import style
from repro_gate.reports.text.escape import clipped, log_line
from repro_gate.reports.text.format import columns, plural, usd

_WIDTH: Final = 40
"""Of a sparkline."""
_LEVELS: Final = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS: Final = "12345678"
_ROUNDING: Final = 1e-3
"""Of a level: values that differ less than their digits have the same one."""
_MAX_ROWS: Final = 20
"""Of a list; the page has more."""
_MAX_TEXT: Final = 48


def render_history(timeline: Timeline, console: Console) -> None:
    """Print a history."""
    levels = _ASCII_LEVELS if console.options.ascii_only else _LEVELS
    for text in _lines(timeline, levels):
        console.print(text, soft_wrap=True)


def sparkline(values: Sequence[float | None], axis: Axis, levels: str = _LEVELS) -> str:
    """Return values as characters, several in one where there are too many; a gap is a space.

    Of several values the one farthest from the middle is shown.
    """
    middle, size = (axis.low + axis.high) / 2, min(_WIDTH, len(values))
    parts = (values[n * len(values) // size : (n + 1) * len(values) // size] for n in range(size))
    shown: list[str] = []
    for part in parts:
        known = [value for value in part if value is not None]
        if not known:
            shown.append(" ")
            continue
        furthest = max(known, key=lambda value: abs(value - middle))
        shown.append(
            levels[min(len(levels) - 1, int(axis.place(furthest, len(levels)) + _ROUNDING))]
        )
    return "".join(shown)


def _lines(timeline: Timeline, levels: str) -> Iterator[Text]:
    yield _headline(timeline)
    yield from _labelled(words.facts(timeline))
    if (note := words.outside_note(timeline)) is not None:
        yield Text(f"  {log_line(note)}", style="yellow")
    for label, text in words.watch_lines(timeline):
        yield Text(f"  {label:<10}{log_line(text)}")
    for policy, lines in groupby(timeline.cells, key=lambda line: line.policy):
        yield from _cells(policy, list(lines), levels)
    for pair in timeline.pairs:
        yield from _pair(pair, timeline, levels)
    yield from _table("service", _SERVICE_COLUMNS, _services(timeline, levels))
    yield from _changes(timeline)
    rows = [words.outlier_row(each, timeline.sessions) for each in timeline.outliers]
    yield from _table("outliers", words.OUTLIER_COLUMNS, rows, more=words.hidden_outliers(timeline))


def _headline(timeline: Timeline) -> Text:
    text = log_line(words.headline(timeline))
    outcome = words.outcome(timeline)
    return Text(text, style="bold" if outcome is None else style(outcome))


def _labelled(lines: Iterable[tuple[str, str]]) -> Iterator[Text]:
    yield Text("  " + ", ".join(f"{label} {log_line(text)}" for label, text in lines))


def _cells(policy: str, lines: Sequence[CellLine], levels: str) -> Iterator[Text]:
    """Yield the cells of a policy."""
    header = ("item", "medians over time", "last", "shift", "outside", "outliers")
    rows: list[Sequence[str]] = []
    for line in lines:
        values = [median(point.totals) if point.totals else None for point in line.points]
        facts = dict(words.cell_facts(line))
        rows.append(
            (
                line.item,
                sparkline(values, value_axis(line), levels),
                facts.get("last median", ""),
                facts.get("shift", ""),
                facts.get("outside", ""),
                facts["outliers"],
            )
        )
    yield from _table(f"policy {policy}", header, rows, limit=len(rows))


def _pair(pair: PairLine, timeline: Timeline, levels: str) -> Iterator[Text]:
    """Yield the importance weights of a pair of policies."""
    if not pair.points:
        return
    yield Text()
    yield Text(f"weights {words.pair_name(pair)}", style="bold")
    values = [point.summary.size_share for point in pair.points]
    yield Text(f"  ESS over time {sparkline(values, Axis(0, 1), levels)}")
    yield from _labelled(words.pair_facts(pair))
    rows = [words.ruinous_row(item, timeline.sessions) for item in pair.ruinous]
    yield from _table("items that ruin it", words.RUINOUS_COLUMNS, rows)


_SERVICE_COLUMNS: Final = ("policy", "latency over time", "last", "cost")


def _services(timeline: Timeline, levels: str) -> Iterator[Sequence[str]]:
    for line in timeline.services:
        values = [point.latency_ms for point in line.points]
        latencies = [value for value in values if value is not None]
        axis = Axis(0, max(latencies, default=0.0) or 1.0)
        last = f"{latencies[-1]:.0f} ms" if latencies else ""
        yield line.policy, sparkline(values, axis, levels), last, _cost(line)


def _cost(line: ServiceLine) -> str:
    return "" if line.usd is None else usd(line.usd)


def _changes(timeline: Timeline) -> Iterator[Text]:
    rows = [words.change_row(each, timeline.sessions) for each in reversed(timeline.changes)]
    yield from _table("changes", words.CHANGE_COLUMNS, rows)


def _table(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    more: int = 0,
    limit: int = _MAX_ROWS,
) -> Iterator[Text]:
    """Yield a table, or nothing without rows; long texts and long tables are cut."""
    found = [[clipped(log_line(text), _MAX_TEXT) for text in row] for row in rows]
    if not found:
        return
    more += max(0, len(found) - limit)
    yield Text()
    yield Text(title, style="bold")
    first, *others = columns([header, *found[:limit]])
    yield Text(f"  {first}", style="dim")
    yield from (Text(f"  {line}") for line in others)
    if more:
        yield Text(f"  and {plural(more, 'more row')}", style="dim")
