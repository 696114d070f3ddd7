"""The draws of a cell against its band, on an axis of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from repro_gate.core.logprobs.report import LogprobCellReport
from repro_gate.core.logprobs.verdicts import Agrees, Effect, Shifted, TokenShift
from repro_gate.reports.findings.logprob_evidence import lines_without_figures
from repro_gate.reports.html.strip import Marks, Strip, strip_paths
from repro_gate.reports.html.svg import Axis
from repro_gate.reports.html.text import text_of_bytes
from repro_gate.reports.text.escape import Line, escape_lines
from repro_gate.reports.text.format import nats, plural, shifted

_BANDS: Final = (2.5, 12.0)
"""How many bands the axis has to each side: at least, and at most where draws are farther."""
_MIN_LIMIT_NATS: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """What is drawn: the sums of a cell, or the values of the token that decided."""

    center: float
    band: float
    calibration: Sequence[float]
    now: Sequence[float]
    outliers: Sequence[float] = ()
    token: int | None = None
    """The position of the token; None for the sum."""


def effect_of(cell: LogprobCellReport) -> Effect | None:
    """Return the significant change of a cell; None without one."""
    verdict = cell.verdict
    if isinstance(verdict, Shifted):
        return verdict.effect
    return verdict.changed if isinstance(verdict, Agrees) else None


def draws_of(cell: LogprobCellReport) -> Draws | None:
    """Return what decided about a cell; None without a baseline."""
    effect = effect_of(cell)
    if effect is not None and effect.deciding.token is not None:
        deciding, token = effect.deciding, effect.deciding.token
        return Draws(
            center=token.expected,
            band=deciding.band,
            calibration=deciding.calibration,
            now=deciding.draws,
            token=token.position,
        )
    if cell.center is None or cell.band is None:
        return None
    return Draws(
        center=cell.center,
        band=cell.band,
        calibration=cell.calibration,
        now=cell.totals,
        outliers=tuple(draw.total for draw in cell.outliers),
    )


def strip_of(draws: Draws, *, name: str) -> Strip:
    """Return the draws of the cell with this name as a strip."""
    center, axis = draws.center, _axis(draws)
    every = (*draws.calibration, *draws.now, *draws.outliers)
    return Strip(
        label=_label(draws, name),
        paths=strip_paths(
            Marks(
                recorded=draws.calibration,
                now=draws.now,
                outliers=draws.outliers,
                allowed=(center - draws.band, center + draws.band),
                lines=(center,),
            ),
            axis,
        ),
        axis=_ends(every, center, axis),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedToken:
    """A token whose log-probability moved."""

    position: int
    text: str
    """Untrusted."""
    id: str
    expected: str
    observed: str
    shift: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The evidence of a hosted finding: its draws, and the tokens that moved."""

    strip: Strip | None
    tokens: tuple[MovedToken, ...]
    lines: tuple[Line, ...]
    """What neither of them shows."""


def drawn_of(cell: LogprobCellReport) -> Drawn:
    """Return the evidence of the finding on a cell."""
    draws = draws_of(cell)
    tokens = cell.verdict.effect.tokens if isinstance(cell.verdict, Shifted) else ()
    return Drawn(
        strip=None if draws is None else strip_of(draws, name=cell.id),
        tokens=tuple(map(_moved, tokens)),
        lines=escape_lines(lines_without_figures(cell)),
    )


def _moved(token: TokenShift) -> MovedToken:
    return MovedToken(
        position=token.position,
        text=text_of_bytes(token.piece.data),
        id="" if token.piece.id is None else str(token.piece.id),
        expected=nats(token.expected),
        observed=nats(token.observed),
        shift=shifted(token.shift),
    )


def _ends(every: Sequence[float], center: float, axis: Axis) -> tuple[str, ...]:
    """Return the labels of an axis, with an arrow where a value is beyond its end."""
    low, high = shifted(axis.low - center), shifted(axis.high - center)
    left = "\N{LEFTWARDS ARROW} " if any(value < axis.low for value in every) else ""
    right = " \N{RIGHTWARDS ARROW}" if any(value > axis.high for value in every) else ""
    return f"{left}{low}", nats(center), f"{high}{right}"


def _axis(draws: Draws) -> Axis:
    """Return an axis that is scaled to the band, so that a small shift is seen."""
    least, most = _BANDS
    distances = (abs(value - draws.center) for value in (*draws.calibration, *draws.now))
    furthest = 1.1 * max(distances, default=0.0)
    limit = min(max(furthest, least * draws.band), most * draws.band) if draws.band else furthest
    limit = max(limit, _MIN_LIMIT_NATS)
    return Axis(draws.center - limit, draws.center + limit)


def _label(draws: Draws, name: str) -> str:
    low, high = draws.center - draws.band, draws.center + draws.band
    what = "" if draws.token is None else f", token {draws.token}"
    parts = [
        f"{name}{what}: the band is {nats(low)} to {nats(high)} nats",
        _range("baseline draw", draws.calibration),
        _range("draw", draws.now),
        *([_range("outlier", draws.outliers)] if draws.outliers else []),
    ]
    return "; ".join(parts)


def _range(noun: str, values: Sequence[float]) -> str:
    counted = plural(len(values), noun)
    if not values:
        return counted
    low, high = nats(min(values)), nats(max(values))
    return f"{counted}, {low}" if low == high else f"{counted}, {low} to {high}"
