"""What each change does to a model, as a table for a terminal and as a page to publish."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Final

from repro_gate.core.axes import AxesReport, Effect, Impact, NotTried
from repro_gate.reports.text.escape import clipped, log_line, one_line
from repro_gate.reports.text.format import nats, plural
from repro_gate.reports.text.markdown import Block, code, document, table

WIDTH: Final = 100
INDENT: Final = "  "
_MAX_VALUE: Final = 26
_COLUMNS: Final = ("axis", "value", "changed", "shift", "distance", "KLD", "")
SHORT: Final[Mapping[Impact, str]] = {
    Impact.NONE: "invariant",
    Impact.UNSEEN: "same tokens",
    Impact.LOGPROBS: "log-probabilities",
    Impact.TOKENS: "tokens",
}
"""Each impact in a word."""
_GROUPS: Final = (
    ("Model", ("model.",)),
    ("Library", ("engine", "library.")),
    ("Machine", ("device.", "host.", "build.", "env.")),
    ("Settings", ("setting.",)),
)
_HEADLINE: Final = (
    *("model.sha256", "model.description", "engine.llama", "engine.ggml", "engine.ggml_commit"),
    *("device.name", "host.cpu"),
)
_NOT_REPRODUCIBLE: Final = (
    "The unchanged run does not repeat itself in another process, so no axis can be judged."
)
_LEGEND: Final = (
    "changed: cells with other tokens than the unchanged run. shift: the largest one of a "
    "log-probability of its tokens, in nats. distance: of its tokens from being drawn again, 0 to "
    "0.5, the mean. KLD: a lower bound of KL(unchanged | changed) in nats, the mean."
)
_SCOPE: Final = "Invariant is no promise for other prompts, such as longer ones, or other machines."
_NOT_COMPLETE: Final = "Interrupted: the rest was not measured."


def render_axes(report: AxesReport) -> str:
    """Return the table in lines of at most 100 columns."""
    blocks = [
        list(_headline(report)),
        [] if report.is_reproducible else [_NOT_REPRODUCIBLE],
        list(_rows(report.effects)),
        wrap(f"{_LEGEND} {_SCOPE}", WIDTH, break_on_hyphens=False) if report.effects else [],
        list(not_tried_lines(report.not_tried)),
        [_NOT_COMPLETE] if report.interrupted else [],
    ]
    lines = [line for block in blocks if block for line in [*block, ""]][:-1]
    return "".join(f"{clipped(log_line(line), WIDTH)}\n" for line in lines)


def render_axes_page(report: AxesReport) -> str:
    """Return the table as a page in Markdown."""
    return document(
        [
            [f"# What changes the tokens of {code(report.model.name)}"],
            [_measured(report)],
            [_NOT_COMPLETE] if report.interrupted else [],
            [] if report.is_reproducible else [f"**{_NOT_REPRODUCIBLE}**"],
            _page_table(report.effects),
            [f"Of the cells and settings below, with one thing changed at a time. {_SCOPE}"],
            [_LEGEND],
            *_page_not_tried(report.not_tried),
            *(_page_facts(title, starts, report.facts) for title, starts in _GROUPS),
            ["## Cells"],
            [f"- {code(cell.id)}" for cell in report.cells],
        ]
    )


def effect_row(effect: Effect) -> tuple[str, ...]:
    """Return the cells of a row of the table."""
    return (
        effect.experiment.axis,
        effect.experiment.value,
        f"{effect.changed} of {len(effect.cells)}",
        *map(_number, (effect.largest_shift, effect.distance, effect.kl_divergence)),
    )


def not_tried_lines(not_tried: Sequence[NotTried]) -> Iterator[str]:
    """Yield what was not measured, those with the same reason together."""
    if not_tried:
        yield "not tried"
    for name, reason in _by_reason(not_tried):
        text = log_line(f"{name}: {reason}")
        yield from wrap(
            text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT * 2, break_on_hyphens=False
        )


def _headline(report: AxesReport) -> Iterator[str]:
    yield f"axes  {report.model.name} on {report.engine.profile}"
    known = [name for name in _HEADLINE if name in report.facts]
    width = max(map(len, known), default=0)
    yield from (f"{INDENT}{name:{width}}  {report.facts[name]}" for name in known)
    yield f"{INDENT}{_measured(report)}"


def _measured(report: AxesReport) -> str:
    cells = f"{len(report.cells)} of {plural(report.all_cells, 'cell')}"
    return (
        f"{cells}, {plural(report.tokens, 'token')} a run; {report.started_at} by repro-gate "
        f"{report.tool_version}"
    )


def _rows(effects: Sequence[Effect]) -> Iterator[str]:
    rows = [(*effect_row(each), SHORT[each.impact]) for each in effects]
    if rows:
        yield from aligned([_COLUMNS, *rows])


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of a table; a long text is cut."""
    shown = [[clipped(log_line(text), _MAX_VALUE) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (f"{text:{width}}" for text, width in zip(row, widths, strict=True))
        yield f"{INDENT}{INDENT.join(cells)}".rstrip()


def _page_table(effects: Sequence[Effect]) -> Block:
    header = (*_COLUMNS[:-1], "verdict")
    rows = [_page_row(effect_row(each), each.impact) for each in effects]
    return table(header, rows) if rows else []


def _page_row(row: Sequence[str], impact: Impact) -> tuple[str, ...]:
    axis, value, *numbers = row
    return (code(axis), code(value), *numbers, impact.value)


def _page_not_tried(not_tried: Sequence[NotTried]) -> Iterator[Block]:
    if not_tried:
        yield ["## Not tried"]
        yield [f"- {code(name)}: {code(reason)}" for name, reason in _by_reason(not_tried)]


def _page_facts(title: str, starts: Sequence[str], facts: Mapping[str, str]) -> Block:
    rows = [
        (code(name), code(value))
        for name, value in sorted(facts.items())
        if name.startswith(tuple(starts))
    ]
    return [f"## {title}", "", *table(("fact", "value"), rows)] if rows else []


def _by_reason(not_tried: Sequence[NotTried]) -> Iterator[tuple[str, str]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for each in not_tried:
        groups.setdefault((each.axis, each.reason), []).append(each.value)
    for (axis, reason), values in groups.items():
        yield f"{axis} {', '.join(values)}".strip(), one_line(reason)


def _number(value: float | None) -> str:
    if value is None:
        return "not known"
    return nats(value) if value else "0"
