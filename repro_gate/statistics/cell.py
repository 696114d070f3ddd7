"""Has one cell drifted? Two looks, each at draws of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from repro_gate.core.logprobs.baseline import RESOLUTION_NATS
from repro_gate.core.logprobs.draw import Encoding
from repro_gate.core.logprobs.error_rates import CONFIRMATION, SCREEN
from repro_gate.core.logprobs.verdicts import Deciding, Effect, Equivalence, Evidence, TokenShift
from repro_gate.statistics.bands import bands, columns_of, difference_bound, shifts
from repro_gate.statistics.permutation import (
    Floats,
    corrections,
    p_values,
    two_samples,
)

_MOST_TOKENS = 5
"""Tokens of an effect that are worth naming."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What both looks together say of a cell that was suspicious in the first."""

    p_values: Mapping[Evidence, float]
    """Of the statistics by which the second look says the same by itself: of the draws of both
    looks against the calibration, corrected for the number of tests."""

    @property
    def p_value(self) -> float:
        """The smallest, which stands for the cell among the others."""
        return min(self.p_values.values())

    def certain(self, adjusted: float, *, level: float) -> dict[Evidence, float]:
        """Return what is certain where the smallest is `adjusted` by the number of cells."""
        factor = adjusted / self.p_value
        p_values = {evidence: factor * p for evidence, p in self.p_values.items()}
        return {evidence: p for evidence, p in p_values.items() if p <= level}


def is_suspicious(calibration: Floats, first: Floats) -> bool:
    """Tell whether a first look makes a second one necessary."""
    return min(p_values(two_samples(calibration, first)).values()) <= SCREEN


def confirm(calibration: Floats, first: Floats, second: Floats) -> Confirmed | None:
    """Return what both looks say, or None when the second does not say what the first did.

    The p-value of both looks together is valid for every cell, looked at or not, so that asking
    for more, suspicion and confirmation, only lowers the rate of false alarms.
    """
    alone = p_values(two_samples(calibration, second))
    confirmed = [evidence for evidence in Evidence if alone[evidence] <= CONFIRMATION]
    if not confirmed:
        return None
    both = two_samples(calibration, np.concatenate([first, second]))
    together, factors = p_values(both), corrections(both)
    return Confirmed(
        p_values={name: min(1.0, factors[name] * together[name]) for name in confirmed}
    )


def effect_of(
    certain: Mapping[Evidence, float], *, draws: tuple[Floats, Floats], floor: float, of: Encoding
) -> tuple[Effect, bool]:
    """Return how large a certain difference is, and whether it is beyond what is allowed.

    Args:
        certain: the statistics that show it, at least one, with their corrected p-values.
        draws: the calibration draws and the new ones, in nats.
        floor: how far a median may move in any case, in nats.
        of: the tokens of the response.
    """
    calibration, new = draws
    moved = shifts(calibration, new)
    allowed = bands(calibration, len(new), floor=floor)
    beyond = np.abs(moved) > allowed
    looked_at = {
        Evidence.COINCIDENCES: beyond,
        Evidence.SUM: beyond[:1],
        Evidence.TOKENS: beyond[1:],
    }
    # Where the sum has certainly moved, and a little, a token may have moved far.
    evidence = min(certain, key=lambda one: (not looked_at[one].any(), certain[one]))
    effect = Effect(
        evidence=evidence,
        p_value=certain[evidence],
        shift=float(moved[0]),
        band=float(allowed[0]),
        deciding=_deciding(_column(evidence, _excess(moved, allowed)), draws, floor=floor, of=of),
        tokens=token_shifts(calibration, new, of),
    )
    return effect, bool(looked_at[evidence].any())


def _excess(moved: Floats, allowed: Floats) -> Floats:
    """Return how far each column has moved, in bands; a floor of 0 may leave a band of 0."""
    moved = np.abs(moved)
    without_band = np.where(moved > 0, np.inf, 0.0)
    excess: Floats = np.divide(moved, allowed, out=without_band, where=allowed > 0)
    return excess


def _column(evidence: Evidence, excess: Floats) -> int:
    """Return which column decides: 0 for the sum, from 1 on the tokens.

    Args:
        evidence: the statistic that found the difference.
        excess: how far each column has moved, in bands.
    """
    furthest = 1 + int(np.argmax(excess[1:]))
    match evidence:
        case Evidence.SUM:
            return 0
        case Evidence.TOKENS:
            return furthest
        case Evidence.COINCIDENCES:
            # It is about both; where both are beyond or both within, the sum is what matters.
            return furthest if excess[furthest] > 1 >= excess[0] else 0
        case _:
            assert_never(evidence)


def _deciding(column: int, draws: tuple[Floats, Floats], *, floor: float, of: Encoding) -> Deciding:
    calibration, new = draws
    allowed = bands(calibration, len(new), floor=floor)
    before, after = (columns_of(some)[:, column] for some in draws)
    token = None
    if column:
        token = _token_shift(column - 1, np.median(calibration, axis=0), np.median(new, axis=0), of)
    return Deciding(
        token=token,
        shift=float(np.median(after) - np.median(before)),
        band=float(allowed[column]),
        calibration=tuple(before.tolist()),
        draws=tuple(after.tolist()),
    )


def token_shifts(calibration: Floats, new: Floats, of: Encoding) -> tuple[TokenShift, ...]:
    """Return the tokens whose medians moved most, first; those that did not move are left out."""
    expected, observed = np.median(calibration, axis=0), np.median(new, axis=0)
    moved = np.abs(observed - expected)
    order: list[int] = np.argsort(-moved, kind="stable")[:_MOST_TOKENS].tolist()
    return tuple(
        _token_shift(place, expected, observed, of)
        for place in order
        if moved[place] > RESOLUTION_NATS
    )


def _token_shift(place: int, expected: Floats, observed: Floats, of: Encoding) -> TokenShift:
    return TokenShift(
        position=place,
        piece=of.response[place],
        expected=float(expected[place]),
        observed=float(observed[place]),
    )


def band_of(calibration: Floats, new: int, *, floor: float) -> float:
    """Return how far the median of the sum may move, in nats."""
    return float(bands(calibration, new, floor=floor)[0])


def equivalence_of(
    calibration: Sequence[float], new: Sequence[float], *, repeats: int, floor: float
) -> Equivalence:
    """Return what may be claimed of a cell in which no difference was found.

    Args:
        calibration: the sums of the calibration draws, in nats.
        new: the sums of the new ones.
        repeats: how many of these repeat a calibration draw to the last digit.
        floor: how far the sum may move in any case, in nats.
    """
    if repeats == len(new):
        return Equivalence.IDENTICAL
    if difference_bound(np.asarray(calibration), np.asarray(new)) <= floor:
        return Equivalence.EQUIVALENT
    return Equivalence.NOT_SHOWN


def repeated(calibration: Floats, new: Floats) -> int:
    """Return how many new draws repeat a calibration draw to the last digit."""
    apart = np.abs(new[:, np.newaxis] - calibration[np.newaxis]).max(axis=2)
    return int((apart <= RESOLUTION_NATS).any(axis=1).sum())
