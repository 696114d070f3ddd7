"""Which single change gives a golden's tokens, for a terminal."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final, assert_never

from repro_gate.core.attribution import (
    AS_RECORDED,
    Attempt,
    Attribution,
    Likeness,
)
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
)
from repro_gate.reports.axes import INDENT, SHORT, WIDTH, aligned, not_tried_lines
from repro_gate.reports.text.escape import clipped, escape_change, format_change, log_line

_MAX_CHANGES: Final = 5
_COLUMNS: Final = ("axis", "value", "tokens", "log-probabilities", "changes")
_SIDES: Final = {
    Likeness.RECORDING: ("golden's", "golden's"),
    Likeness.TOKENS: ("golden's", "others"),
    Likeness.UNKNOWN: ("golden's", "not known"),
    Likeness.OTHER: ("others", "-"),
}
_LEGEND: Final = (
    "tokens, log-probabilities: those of the golden, or others. changes: what the experiment "
    "changes in the unchanged run on this machine; invariant is to the last bit."
)


def render_attribution(found: Attribution) -> str:
    """Return what experiments show of the cause, in lines of at most 100 columns."""
    blocks = [
        list(_headline(found)),
        list(_table(found.attempts)),
        wrap(_LEGEND, WIDTH, break_on_hyphens=False) if found.attempts else [],
        list(not_tried_lines(found.not_tried)),
        ["Interrupted: the rest was not tried."] if found.interrupted else [],
    ]
    lines = [line for block in blocks if block for line in [*block, ""]][:-1]
    return "".join(f"{clipped(log_line(line), WIDTH)}\n" for line in lines)


def render_no_attribution(cell: CellReport) -> str:
    """Return why no experiment is made for a cell."""
    match cell.verdict:
        case Nondeterministic():
            reason = "runs with the same settings differ, so no setting is the cause"
        case Match() | Depends() | Vacuous() | Inconclusive() | Unrecorded() | Drift():
            reason = "there is no divergence from a golden"
        case _:
            assert_never(cell.verdict)
    return f"{log_line(f'experiments  none: {reason}')}\n"


def _headline(found: Attribution) -> Iterator[str]:
    yield f"experiments  {found.cell.id}, on this machine"
    yield from _wrapped(f"unchanged  {_unchanged(found)}")
    for change in () if found.reproduces else found.machine[:_MAX_CHANGES]:
        yield from _wrapped(f"differs    {format_change(escape_change(change))}")
    yield from _wrapped(f"cause      {_conclusion(found)}")


def _unchanged(found: Attribution) -> str:
    if not found.is_repeated:
        return "does not repeat itself in another process"
    if found.is_gone:
        return f"gives {found.unchanged.value}"
    if found.reproduces:
        return "gives the tokens of the report"
    return (
        "gives neither the tokens of the report nor the golden's: this machine or its matrix is "
        "not that of the check, so another cause may be at work there"
    )


def _conclusion(found: Attribution) -> str:
    if not found.is_repeated:
        return "not known: runs with the same settings differ"
    if found.is_gone:
        return "not here: with the matrix as it is, this machine gives the golden's tokens"
    if not found.causes:
        what = "tokens" if found.unchanged is Likeness.OTHER else "logits"
        return f"not found: no change that was tried gives the golden's {what}"
    like = found.causes[0].likeness
    gives = "together they give" if found.causes[0].is_joint else "alone it gives"
    text = f"{' or '.join(map(_name, found.causes))}: {gives} {like.value}"
    match like:
        case Likeness.RECORDING:
            return text
        case Likeness.TOKENS:
            return f"perhaps {text}, so it may be a coincidence of rounding"
        case Likeness.UNKNOWN | Likeness.OTHER:
            return f"perhaps {text}"
        case _:
            assert_never(like)


def _name(attempt: Attempt) -> str:
    besides = " with the recorded definition" if attempt.has_definition else ""
    return f"{attempt.effect.experiment.axis} {_value(attempt)}{besides}"


def _value(attempt: Attempt) -> str:
    value = attempt.effect.experiment.value
    is_marked = attempt.is_put_back and value != AS_RECORDED
    return f"{value} ({AS_RECORDED})" if is_marked else value


def _table(attempts: Sequence[Attempt]) -> Iterator[str]:
    rows = [
        (
            attempt.effect.experiment.axis,
            _value(attempt),
            *_SIDES[attempt.likeness],
            SHORT[attempt.effect.impact],
        )
        for attempt in attempts
    ]
    if rows:
        yield from aligned([_COLUMNS, *rows])


def _wrapped(text: str) -> list[str]:
    indent = " " * (len(INDENT) + len("unchanged  "))
    return wrap(
        log_line(text),
        WIDTH,
        initial_indent=INDENT,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
