"""What was measured of a cell's log-probabilities: labelled lines, and a plot of the draws."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import assert_never

from repro_gate.core.logprobs.report import LogprobCellReport, OutlierDraw
from repro_gate.core.logprobs.verdicts import (
    Agrees,
    Effect,
    Fork,
    Invalid,
    Outlying,
    Shifted,
    TokenShift,
)
from repro_gate.core.tokens.verdicts import Inconclusive, Unrecorded
from repro_gate.reports.findings.logprob_wording import format_statistic
from repro_gate.reports.text.escape import limited, message, one_line
from repro_gate.reports.text.format import chance, nats, plural, shifted

WIDTH = 60
_LABEL = 10
_COUNT = 4
"""Columns that a count may need beyond the axis."""
_COLUMNS = WIDTH - _LABEL - _COUNT


@dataclass(frozen=True, slots=True)
class _Axis:
    """A range in nats, mapped to columns."""

    low: float
    high: float

    def column(self, value: float) -> int:
        """Return the column of a value; the middle if the range is a single value."""
        span = self.high - self.low
        if not 0 < span < math.inf:
            return _COLUMNS // 2
        return round((value - self.low) / span * (_COLUMNS - 1))


def plot(cell: LogprobCellReport) -> tuple[str, ...]:
    """Return a plot of a cell's draws, at most `WIDTH` wide; empty without a baseline.

    It shows the sums, or the values of the token that decided. A single draw is an `o`; several in
    one column are their count.
    """
    if isinstance(cell.verdict, Shifted) and cell.verdict.effect.deciding.token is not None:
        deciding, token = cell.verdict.effect.deciding, cell.verdict.effect.deciding.token
        return _plot(deciding.calibration, deciding.draws, (token.expected, deciding.band))
    if cell.center is None or cell.band is None:
        return ()
    outliers = tuple(draw.total for draw in cell.outliers)
    return _plot(cell.calibration, cell.totals, (cell.center, cell.band), outliers)


def _plot(
    calibration: Sequence[float],
    here: Sequence[float],
    allowed: tuple[float, float],
    outliers: Sequence[float] = (),
) -> tuple[str, ...]:
    """Return a plot of draws beside the center and the band of the baseline."""
    center, band = allowed
    edges = (center - band, center, center + band)
    axis = _axis((*calibration, *here, *outliers, *edges))
    rows = (
        ("baseline", _row(calibration, axis)),
        ("here", _row(here, axis)),
        *((("outliers", _row(outliers, axis)),) if outliers else ()),
        ("allowed", _band([axis.column(edge) for edge in edges])),
        ("nats", _ends(axis)),
    )
    return tuple(f"{label:<{_LABEL}}{row}".rstrip() for label, row in rows)


def _axis(values: Iterable[float]) -> _Axis:
    every = list(values)
    return _Axis(min(every), max(every))


def _row(values: Sequence[float], axis: _Axis) -> str:
    """Return a mark for each column with draws, with blanks between marks."""
    row = ""
    start, count = 0, 0
    for column in sorted(map(axis.column, values)):
        if count and column <= start + len(_mark(count)):
            count += 1
        else:
            row += _mark(count)
            start, count = column, 1
            row = row.ljust(start)
    return row + _mark(count)


def _mark(count: int) -> str:
    return "" if count == 0 else "o" if count == 1 else str(count)


def _band(columns: Sequence[int]) -> str:
    left, center, right = columns
    row = [" "] * left + ["-"] * (right - left + 1)
    # The center overwrites the edges of a band that is narrower than a column.
    row[left], row[right], row[center] = "[", "]", "|"
    return "".join(row)


def _ends(axis: _Axis) -> str:
    low, high = nats(axis.low), nats(axis.high)
    if axis.low == axis.high:
        return low.rjust(_COLUMNS // 2 + 1)
    return f"{low} {'.' * (_COLUMNS - len(low) - len(high) - 2)} {high}"


def logprob_lines(cell: LogprobCellReport) -> tuple[tuple[str, str], ...]:
    """Return the evidence for a verdict, with a plot and the tokens that moved."""
    match cell.verdict:
        case Shifted() as verdict:
            figures = (*_draws(cell), *_tokens(verdict.effect.tokens))
            return (*_before_figures(verdict), *figures, *_after_figures(verdict, cell))
        case Outlying():
            return (*_draws(cell), *outlier_lines(cell))
        case Agrees() | Invalid() | Unrecorded() | Inconclusive():
            return lines_without_figures(cell)
        case _:
            assert_never(cell.verdict)


def lines_without_figures(cell: LogprobCellReport) -> tuple[tuple[str, str], ...]:
    """Return the same evidence where a plot and a table of tokens are beside it."""
    match cell.verdict:
        case Shifted() as verdict:
            return (*_before_figures(verdict), *_after_figures(verdict, cell))
        case Outlying():
            return outlier_lines(cell)
        case Invalid(position=position, count=count):
            place = () if position is None else (("token", f"[{position}] of the response"),)
            return (*place, ("draws", plural(count, "invalid draw")))
        case Agrees() | Unrecorded() | Inconclusive():
            return ()
        case _:
            assert_never(cell.verdict)


def outlier_lines(cell: LogprobCellReport) -> tuple[tuple[str, str], ...]:
    """Return the outliers of a cell, each with the tokens that caused it."""
    return tuple(line for outlier in cell.outliers for line in _outlier(outlier))


def format_effect(effect: Effect) -> str:
    """Return an effect in one line."""
    return f"{shifted(effect.deciding.shift)} nats{_of_token(effect)}, {_format_p_value(effect)}"


def shift_of(cell: LogprobCellReport) -> float | None:
    """Return the shift of the median from the center, in nats; None without draws or center."""
    return median(cell.totals) - cell.center if cell.totals and cell.center is not None else None


def _before_figures(verdict: Shifted) -> Iterator[tuple[str, str]]:
    yield "evidence", f"{_format_p_value(verdict.effect)}, in both looks"
    yield from _moved(verdict.effect)


def _after_figures(verdict: Shifted, cell: LogprobCellReport) -> Iterator[tuple[str, str]]:
    if verdict.effect.fork is not None:
        yield "fork", one_line(_fork(verdict.effect.fork))
    if not verdict.provenance:
        yield "changed", "nothing recorded with the baseline"
    yield from outlier_lines(cell)


def _moved(effect: Effect) -> Iterator[tuple[str, str]]:
    """Yield the shift that decided, and that of the sum if a token decided."""
    total = f"{shifted(effect.shift)} nats of the sum; the band is {nats(effect.band)}"
    if effect.by_distance:
        total = f"{nats(effect.shift)} nats, the mean over all tokens; the band is "
        total += nats(effect.band)
    token, deciding = effect.deciding.token, effect.deciding
    if token is None:
        yield "shift", total
    else:
        moved = f"{shifted(deciding.shift)} nats of token {token.position}"
        yield "shift", f"{moved}; its band is {nats(deciding.band)}; the draws are of this token"
        yield "distance" if effect.by_distance else "sum", total


def _of_token(effect: Effect) -> str:
    token = effect.deciding.token
    return "" if token is None else f" of token {token.position}"


def _format_p_value(effect: Effect) -> str:
    statistic = format_statistic(effect.evidence, by_distance=effect.by_distance)
    return f"p = {chance(effect.p_value)} after Holm, by {statistic}"


def _draws(cell: LogprobCellReport) -> Iterator[tuple[str, str]]:
    return (("draws", row) for row in plot(cell))


def _tokens(tokens: Iterable[TokenShift]) -> Iterator[tuple[str, str]]:
    return limited("token", [one_line(_token(token)) for token in tokens])


def _token(token: TokenShift) -> str:
    text = message(str(token.piece))
    values = f"{nats(token.expected)} -> {nats(token.observed)} nats ({shifted(token.shift)})"
    return f"[{token.position}] {text}  {values}"


def _fork(fork: Fork) -> str:
    answers = f"{fork.draws} of {plural(fork.of, 'answer')}"
    if fork.piece is None:
        return f"{answers} end before [{fork.position}], and the recorded one does not"
    text, place = message(str(fork.piece)), f"[{fork.position}]"
    return f"{answers} continue at {place} with {text}, {nats(fork.margin)} nats likelier there"


def _outlier(outlier: OutlierDraw) -> Iterator[tuple[str, str]]:
    distance = abs(outlier.total - outlier.center)
    place = f"{nats(distance)} from the center {nats(outlier.center)}"
    ordinary = f"where up to {nats(outlier.bound)} is expected"
    yield "outlier", f"{nats(outlier.total)} nats, {place}, {ordinary}; redrawn"
    yield from _tokens(outlier.tokens)
    if outlier.request_id:
        yield "request", message(outlier.request_id)
