"""What the answers of served models depend on, as Markdown: a row for each model and suite."""

from collections.abc import Iterator, Sequence
from typing import Final

from repro_gate.core.report import GateReport
from repro_gate.core.tokens.modes import Level
from repro_gate.reports.findings.modes import (
    MISSED,
    Entry,
    Invariance,
    dependences,
    format_doubts,
    format_entry,
    format_missed,
    format_tokens,
    invariances,
    tightened,
    weakest,
)
from repro_gate.reports.text.escape import clipped
from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import Block, code, fence, mark, table

_MAX_ROWS: Final = 30
_MAX_NAME_LENGTH: Final = 100


def mode_blocks(report: GateReport) -> Iterator[Block]:
    """Yield the table of modes, what answers depend on, and what helps."""
    rows = invariances(report.cells)
    for alike in _by_columns(rows):
        yield _table(alike)
    if not rows:
        return
    yield [
        f"- **{found.claim[0].upper()}{found.claim[1:]}**: {code(found.where)}."
        f"{'' if found.remedy is None else f' What helps: {found.remedy}.'}"
        for found in dependences(report)
    ]
    yield [f"- **Not proven**: {code(reason)}" for _, reason in format_doubts(rows)]
    yield [f"{MISSED.capitalize()}."]


def better_blocks(report: GateReport) -> Iterator[Block]:
    """Yield what the matrix could require, because it holds."""
    for suite, better in tightened(report):
        name = code(clipped(suite, _MAX_NAME_LENGTH))
        yield [f"The matrix could require this of the suite {name}:"]
        yield fence([better], "text")


def _by_columns(rows: Sequence[Invariance]) -> Iterator[Sequence[Invariance]]:
    """Yield the rows with the same modes and levels together."""
    for columns in dict.fromkeys(row.columns for row in rows):
        yield [row for row in rows if row.columns == columns]


def _table(rows: Sequence[Invariance]) -> Block:
    """Return the table of models with the same modes, the required levels first."""
    columns = list(zip(*(row.entries for row in rows), strict=True))
    least = [weakest(entries) for entries in columns]
    header = ["model", "suite", *(code(str(entry.mode)) for entry in least)]
    shown = [
        ["required", "", *(entry.level.value for entry in least)],
        *(_row(row) for row in rows[:_MAX_ROWS]),
        ["compared, at least", "", *map(format_tokens, least)],
        ["missed, at most", "", *map(format_missed, least)],
    ]
    more = len(rows) - _MAX_ROWS
    return [
        *table(header, shown),
        *(["", f"and {plural(more, 'more model')}."] if more > 0 else []),
    ]


def _row(row: Invariance) -> Sequence[str]:
    names = (code(clipped(name, _MAX_NAME_LENGTH)) for name in (row.model, row.suite))
    return [*names, *map(_cell, row.entries)]


def _cell(entry: Entry) -> str:
    holds = f"{format_entry(entry)}{' (unproven)' if entry.doubts else ''}"
    return holds if entry.level is Level.ANY else f"{mark(entry.outcome)} {holds}"
