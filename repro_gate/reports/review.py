"""One change of a review as a screen of a terminal."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final

from rich.cells import chop_cells
from rich.text import Text

from repro_gate.core.changes.groups import ChangeGroup
from repro_gate.core.changes.review import Change, Decision, Order, ReviewState
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.generation import text_of
from repro_gate.core.tokens.verdicts import Drift, Nondeterministic
from repro_gate.reports.findings.changes import fact_lines, format_group
from repro_gate.reports.text.escape import clipped, limited, log_line, one_line
from repro_gate.reports.text.format import plural

HELP: Final = (
    "a  accept: write what was observed as the golden of this cell",
    "r  reject: the golden stays, and the change is a finding",
    "s  skip: decide later",
    "A, R, S  the same for every undecided change with this cause",
    "n, p  next and previous change with this cause, without deciding",
    "b  back to the change decided before; decide again to replace a decision",
    "m  more lines of this change",
    "q  quit, as Ctrl+C does; decisions are kept, and the next review resumes here",
    "Every other key, such as Enter or Escape, does nothing.",
)
_MAX_TEXT: Final = 600
"""Characters of an output that has no golden."""
_MAX_OTHERS: Final = 30
_MIN_BODY: Final = 3
_MIN_WIDTH: Final = 10
_SEPARATOR: Final = "  "
_LOOKS: Final = {"  -": "red", "  +": "green"}
_BOLD: Final = "bold"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownChange:
    """What is known of the change that is shown."""

    cell: CellReport
    group: ChangeGroup
    golden: str
    """The path of its golden."""
    has_golden: bool
    explanation: str
    """Of its divergence, in lines."""


def render_change(
    state: ReviewState, shown: ShownChange, *, width: int, height: int
) -> Sequence[Text]:
    """Return a change as at most so many lines of at most so many columns.

    Args:
        state: of the review.
        shown: its change.
        width: of the terminal.
        height: of the terminal; a small one is exceeded.
    """
    header = _fitted([(line, _BOLD) for line in _joined(_progress(state), width)], width)
    lines = _help(width) if state.shows_help else _body(state, shown)
    body, footer = _fitted(lines, width), _footer(state, 1, width)
    if len(body) > height - len(header) - len(footer) - 1:
        # As long as the longest one that follows.
        footer = _footer(state, len(body), width)
        size = max(_MIN_BODY, height - len(header) - len(footer) - 1)
        pages = -(-len(body) // size)
        start = state.page % pages * size
        body, footer = body[start : start + size], _footer(state, pages, width)
    return [*header, *body, *footer]


def _footer(state: ReviewState, pages: int, width: int) -> list[Text]:
    note = [] if state.note is None else [(f"! {state.note}", "bold yellow")]
    keys = [(line, _BOLD) for line in _joined(_keys(state, pages), width)]
    return _fitted([*note, *keys], width)


def _help(width: int) -> Iterator[tuple[str, str]]:
    for line in HELP:
        for part in wrap(line, max(width, _MIN_WIDTH), subsequent_indent="   "):
            yield part, ""


def _progress(state: ReviewState) -> Iterator[str]:
    yield f"change {state.at + 1} of {len(state.changes)}:"
    yield from (f"{state.count(decision)} {decision}" for decision in Decision)
    yield f"{state.count(None)} left"


def _body(state: ReviewState, shown: ShownChange) -> Iterator[tuple[str, str]]:
    section = state.section
    yield f"cause {shown.group.id}: {format_group(shown.group)}", _BOLD
    for fact in fact_lines(shown.group):
        yield f"  {fact}", ""
    if not shown.group.facts:
        yield "  no changed fact of the provenance", ""
    new = "" if shown.has_golden else " (new)"
    yield f"golden {shown.golden}{new}", ""
    if state.change.refusal is not None:
        yield f"cannot be accepted: {state.change.refusal}", "yellow"
    decision = state.decisions.get(state.change.cell_id)
    if decision is not None:
        yield f"decided: {decision}", "yellow"
    yield "", ""
    for line in shown.explanation.splitlines():
        yield line, _LOOKS.get(line[:3], "")
    yield from _observed(shown.cell)
    if state.order is Order.CAUSE and len(section) > 1:
        yield "", ""
        yield from _others(section, state)


def _observed(cell: CellReport) -> Iterator[tuple[str, str]]:
    """Yield the output of a cell that no comparison shows."""
    if cell.generation is not None and not isinstance(cell.verdict, Drift | Nondeterministic):
        yield f'  observed  "{clipped(text_of(cell.generation.tokens), _MAX_TEXT)}"', ""


def _others(section: Sequence[Change], state: ReviewState) -> Iterator[tuple[str, str]]:
    """Yield the other changes with the same cause, around the shown one."""
    place = section.index(state.change)
    yield f"{place + 1} of {plural(len(section), 'change')} with this cause:", _BOLD
    first = max(0, min(place - _MAX_OTHERS // 2, len(section) - _MAX_OTHERS))
    for each in section[first : first + _MAX_OTHERS]:
        mark = ">" if each is state.change else " "
        yield f"{mark} {each.cell_id}{_suffix(each, state.decisions)}", ""
    if len(section) > _MAX_OTHERS:
        yield f"  and {len(section) - _MAX_OTHERS} more", ""


def _suffix(change: Change, decisions: Mapping[str, Decision]) -> str:
    decision = decisions.get(change.cell_id)
    return "" if decision is None else f" ({decision})"


def _keys(state: ReviewState, pages: int) -> Iterator[str]:
    section = state.with_cause(state.change.cause)
    letters = "RS" if all(each.refusal is not None for each in section) else "ARS"
    more = [f"[m]ore {state.page % pages + 1}/{pages}"] if pages > 1 else []
    if state.shows_help:
        yield from (*more, "any other key closes the help", "[q]uit")
        return
    if state.change.refusal is None:
        yield "[a]ccept"
    yield from ("[r]eject", "[s]kip")
    if len(section) > 1:
        yield f"[{letters}] all {len(section)} of this cause"
    if len(state.section) > 1:
        yield from ("[n]ext", "[p]revious")
    if state.visited:
        yield "[b]ack"
    yield from (*more, "[?] help", "[q]uit")


def _joined(words: Iterable[str], width: int) -> list[str]:
    """Return the words in as few lines as they take."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(_SEPARATOR) + len(word) <= width:
            lines[-1] += f"{_SEPARATOR}{word}"
        else:
            lines.append(word)
    return lines


def _fitted(lines: Iterable[tuple[str, str]], width: int) -> list[Text]:
    """Return untrusted lines in columns, where some characters take two."""
    return [
        Text(part, look)
        for line, look in lines
        for part in (chop_cells(log_line(line), max(_MIN_WIDTH, width)) or [""])
    ]


def summary_lines(
    changes: Sequence[Change], decisions: Mapping[str, Decision], *, recorded: int
) -> Iterator[str]:
    """Yield how a review ended, without what to do next.

    Args:
        changes: those that no golden had at the start.
        decisions: on them.
        recorded: how many other changes had a golden at the start.
    """
    if not changes and not recorded:
        yield "Nothing to review: the check observed no change of tokens."
        return
    of = {each.cell_id: decisions.get(each.cell_id) for each in changes}
    counts = Counter(of.values())
    words = [f"{counts[decision]} {decision}" for decision in Decision]
    before = f"; {recorded} accepted before" if recorded else ""
    yield f"{', '.join(words)}, {counts[None]} left{before}"
    rejected = [name for name, decision in of.items() if decision is Decision.REJECTED]
    yield from (
        f"{label}: {name}" for label, name in limited("rejected", list(map(one_line, rejected)))
    )
