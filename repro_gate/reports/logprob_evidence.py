"""What was seen of the log-probabilities of a cell, as labelled lines."""

from collections.abc import Iterable, Iterator
from statistics import median
from typing import assert_never

from repro_gate.core.logprob_report import LogprobCellReport, OutlierDraw
from repro_gate.core.logprob_verdicts import (
    Agrees,
    Effect,
    Evidence,
    Invalid,
    Outlying,
    Shifted,
    TokenShift,
)
from repro_gate.core.verdicts import Inconclusive, Unrecorded
from repro_gate.reports.draw_plot import plot
from repro_gate.reports.figures import chance, nats, plural, shifted
from repro_gate.reports.foreign import cut, message, one_line


def logprob_evidence(cell: LogprobCellReport) -> tuple[tuple[str, str], ...]:
    """Return what a reader needs to judge a verdict."""
    match cell.verdict:
        case Shifted() as verdict:
            return (*_shifted(verdict, cell), *outlier_lines(cell))
        case Outlying():
            return (*_draws(cell), *outlier_lines(cell))
        case Invalid(position=position, count=count):
            place = () if position is None else (("token", f"[{position}] of the response"),)
            return (*place, ("draws", plural(count, "invalid draw")))
        case Agrees() | Unrecorded() | Inconclusive():
            return ()
        case _:
            assert_never(cell.verdict)


def outlier_lines(cell: LogprobCellReport) -> tuple[tuple[str, str], ...]:
    """Return every outlier of a cell with the tokens that caused it."""
    return tuple(line for outlier in cell.outliers for line in _outlier(outlier))


def effect_words(effect: Effect) -> str:
    """Return an effect in one line."""
    return f"{shifted(effect.deciding.shift)} nats{_of_token(effect)}, {_p_words(effect)}"


def shift_of(cell: LogprobCellReport) -> float | None:
    """Return how far the median of the draws is from the center; None without draws or center."""
    return median(cell.totals) - cell.center if cell.totals and cell.center is not None else None


def _shifted(verdict: Shifted, cell: LogprobCellReport) -> Iterator[tuple[str, str]]:
    effect = verdict.effect
    yield "evidence", f"{_p_words(effect)}, in two looks"
    yield from _moved(effect)
    yield from _draws(cell)
    yield from _tokens(effect.tokens)
    if not verdict.provenance:
        yield "changed", "nothing recorded with the baseline"


def _moved(effect: Effect) -> Iterator[tuple[str, str]]:
    """Yield what left its band first, and after a token the sum."""
    total = f"{shifted(effect.shift)} nats of the sum; the band is {nats(effect.band)}"
    token, deciding = effect.deciding.token, effect.deciding
    if token is None:
        yield "shift", total
    else:
        moved = f"{shifted(deciding.shift)} nats of token {token.position}"
        yield "shift", f"{moved}; its band is {nats(deciding.band)}; the draws are of this token"
        yield "sum", total


def _of_token(effect: Effect) -> str:
    token = effect.deciding.token
    return "" if token is None else f" of token {token.position}"


def _p_words(effect: Effect) -> str:
    match effect.evidence:
        case Evidence.COINCIDENCES:
            shown_by = "coincidences"
        case Evidence.SUM:
            shown_by = "the sum"
        case Evidence.TOKENS:
            shown_by = "single tokens"
        case _:
            assert_never(effect.evidence)
    return f"p = {chance(effect.p_value)} after Holm, by {shown_by}"


def _draws(cell: LogprobCellReport) -> Iterator[tuple[str, str]]:
    return (("draws", row) for row in plot(cell))


def _tokens(tokens: Iterable[TokenShift]) -> Iterator[tuple[str, str]]:
    return cut("token", [one_line(_token(token)) for token in tokens])


def _token(token: TokenShift) -> str:
    piece = message(str(token.piece))
    values = f"{nats(token.expected)} -> {nats(token.observed)} nats ({shifted(token.shift)})"
    return f"[{token.position}] {piece}  {values}"


def _outlier(outlier: OutlierDraw) -> Iterator[tuple[str, str]]:
    distance = abs(outlier.total - outlier.center)
    place = f"{nats(distance)} from the center {nats(outlier.center)}"
    ordinary = f"where up to {nats(outlier.bound)} is expected"
    yield "outlier", f"{nats(outlier.total)} nats, {place}, {ordinary}; redrawn"
    yield from _tokens(outlier.tokens)
    if outlier.request_id:
        yield "request", message(outlier.request_id)
