"""The divergence of one cell, as a page for a terminal."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap
from typing import Final, assert_never

from repro_gate.core.cause import Cause, Diagnosis, changed_files
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.comparison import (
    NOTICEABLE,
    Position,
    Shifts,
    forced_tokens,
    probability_of,
    shifts_of,
)
from repro_gate.core.tokens.generation import Generation, Place, Token, first_divergence
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.grade import GradeWord
from repro_gate.core.tokens.verdicts import Depends, Drift, Inconclusive, Unrecorded
from repro_gate.core.tokens.verification import Share, VerifiedToken
from repro_gate.reports.findings.divergence import (
    Explanation,
    evidence,
    explain,
    explain_change,
    explain_mode,
    format_place,
    format_token,
    token_diff,
)
from repro_gate.reports.findings.facts import by_effect, known_change
from repro_gate.reports.findings.grades import describe_graded
from repro_gate.reports.findings.modes import (
    MISSED,
    format_difference,
    format_doubts,
    invariances,
    mode_table,
)
from repro_gate.reports.findings.tokens import grade_finding
from repro_gate.reports.findings.wording import describe_former
from repro_gate.reports.text.escape import clipped, escape_change, format_change, log_line
from repro_gate.reports.text.format import columns, nats, plural

WIDTH: Final = 100
_MAX_TEXT: Final = 300
_INDENT: Final = "  "
_TOKEN: Final = 24
_MAX_BAR: Final = 20
_SIDE: Final = 12
"""Characters of a side without its bar."""
_AROUND_SCALE: Final = 12
"""Characters of a line besides those from 0 to 1."""

_OVER_THE_SUITE: Final = {
    Cause.ROUNDING: f"; over the cells of the suite this is {GradeWord.CONSISTENT}",
    Cause.BEHAVIOURAL: f"; over the cells of the suite this is {GradeWord.BEYOND}",
}
_DIGEST: Final = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")

_Line = tuple[str, str]
"""A label and its text."""


@dataclass(frozen=True, slots=True)
class _Paragraph:
    """Text to be wrapped, and what its further lines start with."""

    text: str
    indent: str


_Lines = Iterator[str | _Paragraph]


def render_explanation(
    report: GateReport,
    cell: CellReport,
    found: Diagnosis | None,
    committed: Golden | None,
    *,
    width: int = WIDTH,
) -> str:
    """Return what is known of the divergence of a cell.

    Args:
        report: the check that the cell is from.
        cell: the result of the cell.
        found: its diagnosis; None where nothing diverged.
        committed: its golden in the checkout.
        width: the most columns of a line.
    """
    blocks = [list(_headline(report, cell, found, committed)), *map(list, _modes(cell))]
    if found is not None:
        blocks += [
            list(_fork(cell, found)),
            list(_candidates(found, width)),
            list(_draw(cell, found, max(1, width - _AROUND_SCALE))),
            list(_shift(found)),
            list(_forced(cell, found)),
            list(_graded(report, cell)),
        ]
    blocks.append(list(_changed(cell, found)))
    lines = [line for block in blocks if block for line in [*block, ""]][:-1]
    shown = (
        text
        for line in lines
        for text in ([line] if isinstance(line, str) else _wrapped(line, width))
    )
    return "".join(f"{clipped(log_line(line), width)}\n" for line in shown)


def _headline(
    report: GateReport, cell: CellReport, found: Diagnosis | None, committed: Golden | None
) -> _Lines:
    description = describe_graded(cell, report)
    yield f"{cell.verdict.word}  {cell.id}"
    yield _Paragraph(f"{_INDENT}{description.claim}", _INDENT)
    known = [("reason", description.reason), ("remedy", description.remedy)]
    commit = "" if report.commit is None else f", commit {report.commit[:12]}"
    checked = f"{report.started_at} by repro-gate {report.tool_version}{commit}"
    yield from _labelled(
        [
            *((label, text) for label, text in known if text is not None),
            ("checked", checked),
            *(() if cell.profile is None else [("profile", cell.profile)]),
            *(("golden", text) for text in _since(cell, found, committed)),
            ("cause", _no_divergence(cell) if found is None else _reason(found)),
            *(("grade", text) for text in [description.grade] if text is not None),
        ]
    )


def _no_divergence(cell: CellReport) -> str:
    tokens = describe_former([cell])
    if isinstance(cell.verdict, Inconclusive):
        return "none: the cell was not measured"
    if isinstance(cell.verdict, Depends):
        return "none: run 1 is the golden; only answers in other modes differ"
    if tokens is None:
        return "none: there is no divergence to explain"
    return f"{Cause.DEFINITION.value}: tokens {tokens}"


def _modes(cell: CellReport) -> Iterator[Iterable[str | _Paragraph]]:
    """Yield how answers compare with run 1 in each mode, and where they first differ."""
    for row in invariances([cell]):
        yield [
            "modes: answers compared with run 1",
            *(f"{_INDENT}{text}" for text in columns(mode_table(row))),
            *_labelled([*format_doubts([row])]),
            f"{_INDENT}{MISSED}",
        ]
    for result in cell.modes:
        explanation = explain_mode(cell, result)
        if explanation is not None:
            place = format_place(explanation.divergence)
            known = [("answers", format_difference(result)), *evidence(explanation)]
            yield [f"first difference in {result.mode}, {place}", *_labelled(known)]


def _since(cell: CellReport, found: Diagnosis | None, committed: Golden | None) -> Iterator[str]:
    """Yield how the committed golden differs from the one that the check compared with."""
    match cell.verdict:
        case Drift(golden=golden):
            if committed is None:
                yield "is no longer committed for this profile"
            elif not _are_equal(committed, golden.cell, golden.generation):
                is_observed = _are_equal(committed, cell.cell, cell.generation)
                yield "has been updated since" + (" to what was observed" if is_observed else "")
        case Unrecorded(former=former) if former is not None:
            if former.divergence is not None and found is None:
                yield "is not the one that the check compared with: check again"
        case _:
            pass


def _are_equal(golden: Golden, cell: Cell, generation: Generation | None) -> bool:
    return (
        golden.cell == cell
        and generation is not None
        and first_divergence(golden.generation, generation) is None
    )


def _reason(found: Diagnosis) -> str:
    place = format_place(found.divergence)
    match found.cause:
        case Cause.DEFINITION:
            changed = "; ".join(map(format_change, map(escape_change, found.redefined or ())))
            text = f"the golden is for another definition of the cell: {changed}"
        case Cause.TEMPLATE:
            text = f"the chat is rendered as another text, from {place} on"
        case Cause.TOKENIZER:
            text = f"the same text has other prompt tokens, from {place} on"
        case Cause.MODEL:
            names = " and ".join(change.name for change in changed_files(found.changes))
            text = f"another file is loaded: {names} differs"
        case Cause.SAMPLER:
            text = (
                f"up to the fork {_same_numbers(found)}, and the generation continues otherwise: "
                "seed, sampler or its parameters"
            )
        case Cause.NUMERIC | Cause.ROUNDING | Cause.BEHAVIOURAL:
            text = f"{_other_numbers(found)}{_OVER_THE_SUITE.get(found.cause, '')}"
        case Cause.UNKNOWN:
            text = _unknown(found)
        case _:
            assert_never(found.cause)
    return f"{found.cause.value}: {text}"


def _same_numbers(found: Diagnosis) -> str:
    if found.has_logits:
        return f"the logits are those of {_before_the(found)}, to the bit"
    return "the log-probabilities are those of the golden, to its four decimals"


def _other_numbers(found: Diagnosis) -> str:
    step = found.divergence.logits_from
    if step is not None:
        equal = "all tokens are equal, but " * (found.divergence.place is Place.LOGITS)
        return f"{equal}from step {step} on the logits are not those of {_before_the(found)}"
    side = "run 1 has when it is repeated" if found.now is None else "the golden has"
    return f"the log-probabilities up to the fork are not those that {side}"


def _before_the(found: Diagnosis) -> str:
    return "run 1" if found.now is None else "the golden"


def _unknown(found: Diagnosis) -> str:
    if found.now is None:
        known = "repeats its log-probabilities" if found.positions else "was not repeated"
        return f"of the run that differs no log-probabilities are kept, and run 1 {known}"
    return (
        "too few log-probabilities are known to distinguish a sampler from rounding: the golden "
        "or the engine has none"
    )


def _fork(cell: CellReport, found: Diagnosis) -> _Lines:
    explanation = _explanation(cell, found)
    yield f"at the fork, {format_place(found.divergence)}"
    yield from _labelled(evidence(explanation))
    if found.divergence.place not in {Place.OUTPUT, Place.LOGITS}:
        yield from (f"{_INDENT}{line}" for line in token_diff(explanation))


def _explanation(cell: CellReport, found: Diagnosis) -> Explanation:
    now = found.now or found.before
    return explain(cell) or explain_change(cell.cell, found.before, now, found.divergence)


def _candidates(found: Diagnosis, width: int) -> _Lines:
    """Yield the most likely tokens at the fork, with a bar for the probability on each side."""
    position = found.divergence.position
    at_fork = [each for each in found.up_to_fork if each.number == position]
    texts = _texts(found)
    bar = min(_MAX_BAR, max(0, (width - len(_INDENT) * 3 - _TOKEN) // 2 - _SIDE - 1))
    side = bar + _SIDE
    for each in at_fork:
        yield f"most likely tokens at output[{position}], before the samplers"
        yield f"{_INDENT}{'':{_TOKEN}}  {_before(found):<{side}}  now".rstrip()
        for token in _in_order(each):
            mark = _mark(token, found)
            name = clipped(format_token(texts[token]) if token in texts else str(token), _TOKEN - 2)
            before = _side(token, each.before, each.ranked[0], bar)
            now = _side(token, each.now, each.ranked[1], bar)
            yield f"{_INDENT}{mark} {name:{_TOKEN - 2}}  {before:{side}}  {now}".rstrip()
    if at_fork and any(_tokens_at_fork(found)):
        yield f"{_INDENT}- {_before(found)}, + {_after(found)}"


def _in_order(position: Position) -> list[int]:
    def likelihood(token: int) -> tuple[float, float]:
        return (
            position.before.get(token, -math.inf),
            position.now.get(token, -math.inf),
        )

    return sorted(position.before.keys() | position.now.keys(), key=likelihood, reverse=True)


def _mark(token: int, found: Diagnosis) -> str:
    is_expected, is_observed = (
        each is not None and each.id == token for each in _tokens_at_fork(found)
    )
    return "-" if is_expected else "+" if is_observed else " "


def _side(token: int, known: Mapping[int, float], ranked: int, bar: int) -> str:
    """Return rank, probability and bar of a token; a rank after a gap is not known."""
    if token not in known:
        return "not known"
    above = sum(logprob > known[token] for logprob in known.values())
    rank = f">{ranked}" if above >= ranked else str(above + 1)
    probability = probability_of(known[token])
    return f"{rank:>3}  {probability:7.2%} {'#' * round(bar * probability)}"


def _texts(found: Diagnosis) -> dict[int, Token]:
    sides = [found.before, *([] if found.now is None else [found.now])]
    seen = [token for side in sides for token in (*side.prompt, *side.tokens)]
    return {token.id: token for token in (*seen, *_tokens_at_fork(found)) if token is not None}


def _tokens_at_fork(found: Diagnosis) -> tuple[Token | None, Token | None]:
    """Return the tokens of both sides; None for the digest of logits, which is none."""
    divergence = found.divergence
    is_output = divergence.place is not Place.LOGITS
    return (divergence.expected, divergence.observed) if is_output else (None, None)


def _before(found: Diagnosis) -> str:
    return "run 1" if found.now is None else "golden"


def _after(found: Diagnosis) -> str:
    return "the run that differs" if found.now is None else "observed"


def _draw(cell: CellReport, found: Diagnosis, scale: int) -> _Lines:
    """Yield the interval from 0 to 1 with the shares of both tokens and the random number."""
    token = _explanation(cell, found).verified
    if token is None or token.uniform is None:
        return
    shares = _shares(found, token)
    yield "the draw: the random number lies in the share of the token that is drawn"
    marks = [" "] * scale
    for label, share in shares:
        if share is not None:
            low, high = _column(share.low, scale), _column(share.high, scale)
            marks[low : high + 1] = label[0] * (high + 1 - low)
    yield f"{_INDENT}0 |{''.join(marks)}| 1"
    yield f"{_INDENT}   {_pointer(token.uniform, scale)}"
    yield from _labelled([(label, _format_share(share)) for label, share in shares])


def _pointer(number: float, scale: int) -> str:
    """Return a mark below a number from 0 to 1, with the number on the side that has more space."""
    column, shown = _column(number, scale), f"{number:.6f}"
    before = f"{shown} "
    if column > scale // 2 and column >= len(before):
        return f"{before:>{column}}^"
    return f"{' ' * column}^ {shown}"


def _shares(found: Diagnosis, token: VerifiedToken) -> list[tuple[str, Share | None]]:
    """Return the shares of the claimed and the drawn token; a label starts with its mark."""
    before, after = f"- {_before(found)}", f"+ {_after(found)}"
    claimed, other, usual = (
        (after, found.divergence.expected, before)
        if found.now is None
        else (before, found.divergence.observed, after)
    )
    is_usual = other is not None and other.id == token.drawn
    drawn = usual if is_usual else f"* token {token.drawn}"
    return [
        (claimed, token.share),
        *([] if token.drawn == token.id else [(drawn, token.drawn_share)]),
    ]


def _format_share(share: Share | None) -> str:
    if share is None:
        return "not a candidate: the samplers exclude it"
    return f"{share.low:.6f} to {share.high:.6f} ({share.size:.2%})"


def _column(number: float, scale: int) -> int:
    return min(scale - 1, int(number * scale))


def _shift(found: Diagnosis) -> _Lines:
    shifts = shifts_of(found.up_to_fork)
    if shifts is not None:
        end = "of all tokens" if found.divergence.place is Place.LOGITS else "up to the fork"
        yield f"log-probabilities {end}, {_before(found)} and now"
        yield from _labelled(_shift_lines(shifts))


def _shift_lines(shifts: Shifts) -> Sequence[_Line]:
    first = "none" if shifts.first is None else f"output[{shifts.first}]"
    return (
        ("compared", plural(shifts.count, "position")),
        ("largest shift", _nats(shifts.largest)),
        ("mean shift", _nats(shifts.mean)),
        (f"first above {NOTICEABLE}", first),
    )


def _nats(value: float) -> str:
    return f"{nats(value)} nats" if math.isfinite(value) else "not known: no token is on both sides"


def _forced(cell: CellReport, found: Diagnosis) -> _Lines:
    if found.now is None or not cell.verification:
        return
    is_greedy = cell.cell.sampler.is_greedy
    forced = forced_tokens(cell.verification, found.positions, is_greedy=is_greedy)
    label, unit = ("mean margin", " nats") if is_greedy else ("mean distance", "")
    lines = [("explained", f"{forced.explained} of {forced.count}: they are drawn here too")]
    if forced.mean_distance is not None:
        lines.append((label, f"{nats(forced.mean_distance)}{unit}, each at most 0.5"))
    if forced.mean_kl_divergence is not None and forced.same_best is not None:
        positions = plural(len(found.positions), "position")
        divergence = f"at least {nats(forced.mean_kl_divergence)} nats, mean of {positions}"
        lines.append(("KL divergence", divergence))
        lines.append(("same best", f"{forced.same_best} of {positions}"))
    yield "all tokens of the golden, forced through this engine one after the other"
    yield from _labelled(lines)


def _graded(report: GateReport, cell: CellReport) -> _Lines:
    """Yield the grade of the cell's model in its suite, with the numbers that it rests on."""
    grade = report.grade_of(cell)
    if grade is not None:
        finding = grade_finding(grade, report)
        yield f"{finding.word}: {finding.subject}"
        yield _Paragraph(f"{_INDENT}{finding.description.claim}", _INDENT)
        yield from _labelled(list(finding.details))


def _changed(cell: CellReport, found: Diagnosis | None) -> _Lines:
    if isinstance(cell.verdict, Depends):
        known = cell.verdict.provenance
    elif found is None or found.now is None:
        return
    else:
        known = found.changes
    yield "what changed since the golden was recorded"
    changes = by_effect([*known])
    if not changes:
        yield f"{_INDENT}nothing that the provenance records"
    for sentence, same in groupby(changes, key=lambda change: known_change(change).sentence):
        for change in same:
            text = _DIGEST.sub(r"\1...", format_change(escape_change(change)))
            yield _Paragraph(f"{_INDENT}{text}", _INDENT * 2)
        yield _Paragraph(f"{_INDENT * 2}{sentence}", _INDENT * 2)


def _labelled(lines: Sequence[_Line]) -> _Lines:
    width = max((len(label) for label, _ in lines), default=0)
    for label, text in lines:
        indent = " " * (2 * len(_INDENT) + width)
        yield _Paragraph(f"{_INDENT}{label:<{width}}{_INDENT}{text}", indent)


def _wrapped(paragraph: _Paragraph, width: int) -> list[str]:
    line = clipped(log_line(paragraph.text), _MAX_TEXT)
    indent = paragraph.indent if len(paragraph.indent) < width else ""
    lines = wrap(
        line, width, subsequent_indent=indent, drop_whitespace=False, break_on_hyphens=False
    )
    return [each.rstrip() for each in lines]
