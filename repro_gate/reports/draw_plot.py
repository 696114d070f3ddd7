"""Draws as a plot of a few lines of text: what was recorded, what was seen, and what is allowed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from repro_gate.core.logprob_report import LogprobCellReport
from repro_gate.core.logprob_verdicts import Shifted
from repro_gate.reports.figures import nats

WIDTH = 60
_LABEL = 10
_COUNT = 4
"""Columns that a count may need beyond the axis."""
_COLUMNS = WIDTH - _LABEL - _COUNT


@dataclass(frozen=True, slots=True)
class _Axis:
    """A range in nats, and the columns that show it."""

    low: float
    high: float

    def column(self, value: float) -> int:
        """Return where a value of the range stands; the middle when the range is but a point."""
        span = self.high - self.low
        if not 0 < span < math.inf:
            return _COLUMNS // 2
        return round((value - self.low) / span * (_COLUMNS - 1))


def plot(cell: LogprobCellReport) -> tuple[str, ...]:
    """Return the plot of a cell, each line at most `WIDTH` wide; empty without a baseline.

    It is of the sum, or of the token that decided.

    A single draw is an `o`; several in one place are their count.
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
    """Return the plot of draws beside a center and how far from it the median may be."""
    center, band = allowed
    edges = (center - band, center, center + band)
    axis = _axis((*calibration, *here, *outliers, *edges))
    rows = (
        ("baseline", _draws(calibration, axis)),
        ("here", _draws(here, axis)),
        *((("outliers", _draws(outliers, axis)),) if outliers else ()),
        ("allowed", _band([axis.column(edge) for edge in edges])),
        ("nats", _ends(axis)),
    )
    return tuple(f"{label:<{_LABEL}}{row}".rstrip() for label, row in rows)


def _axis(values: Iterable[float]) -> _Axis:
    known = list(values)
    return _Axis(min(known), max(known))


def _draws(values: Sequence[float], axis: _Axis) -> str:
    """Return a mark for each place at which draws fell, with a blank between each two."""
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
    # The center last: where the band is narrower than a column, it is what matters.
    row[left], row[right], row[center] = "[", "]", "|"
    return "".join(row)


def _ends(axis: _Axis) -> str:
    low, high = nats(axis.low), nats(axis.high)
    if axis.low == axis.high:
        return low.rjust(_COLUMNS // 2 + 1)
    return f"{low} {'.' * (_COLUMNS - len(low) - len(high) - 2)} {high}"
