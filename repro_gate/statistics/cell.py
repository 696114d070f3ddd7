"""The drift test of one cell: two looks with separate draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from repro_gate.core.logprobs.baseline import RESOLUTION_NATS
from repro_gate.core.logprobs.draw import Encoding
from repro_gate.core.logprobs.error_rates import (
    CONFIRMATION,
    LOOK_LABELINGS,
    MAX_LABELINGS,
    SCREEN,
)
from repro_gate.core.logprobs.verdicts import Deciding, Effect, Equivalence, Evidence, TokenShift
from repro_gate.statistics.bands import bands, columns_of, difference_bound, shifts
from repro_gate.statistics.permutation import (
    Floats,
    corrections,
    p_values,
    two_samples,
)

_MAX_TOKENS = 5
"""Reported tokens of an effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The result of both looks at a cell that was suspicious in the first."""

    p_values: Mapping[Evidence, float]
    """Of the statistics that the second look alone confirms: both looks against the calibration,
    corrected for the number of tests."""

    @property
    def p_value(self) -> float:
        """The smallest p-value, which represents the cell in the suite."""
        return min(self.p_values.values())

    def significant(self, adjusted: float, *, level: float) -> dict[Evidence, float]:
        """Return the significant statistics where the smallest p-value becomes `adjusted`."""
        factor = adjusted / self.p_value
        p_values = {evidence: factor * p for evidence, p in self.p_values.items()}
        return {evidence: p for evidence, p in p_values.items() if p <= level}


def is_suspicious(calibration: Floats, first: Floats, *, by_distance: bool = False) -> bool:
    """Return whether the first look makes a second one necessary."""
    samples = two_samples(calibration, first, by_distance=by_distance)
    return min(p_values(samples, limit=LOOK_LABELINGS).values()) <= SCREEN


def confirm(
    calibration: Floats,
    first: Floats,
    second: Floats,
    *,
    by_distance: bool = False,
    limit: int = MAX_LABELINGS,
) -> Confirmed | None:
    """Return the result of both looks, or None when the second alone confirms nothing.

    The p-value of both looks together is valid by itself, so that screening and confirmation only
    lower the false-alarm rate. More than `limit` divisions of them are sampled.
    """
    one = two_samples(calibration, second, by_distance=by_distance)
    alone = p_values(one, limit=LOOK_LABELINGS)
    confirmed = [evidence for evidence in Evidence if alone[evidence] <= CONFIRMATION]
    if not confirmed:
        return None
    both = two_samples(calibration, np.concatenate([first, second]), by_distance=by_distance)
    together, factors = p_values(both, limit=limit), corrections(both)
    return Confirmed(
        p_values={name: min(1.0, factors[name] * together[name]) for name in confirmed}
    )


def effect_of(
    significant: Mapping[Evidence, float],
    *,
    draws: tuple[Floats, Floats],
    floor: float | Floats,
    of: Encoding,
    by_distance: bool = False,
) -> tuple[Effect, bool]:
    """Return the size of a significant difference, and whether it exceeds the band.

    Args:
        significant: the statistics that show it, at least one, with their corrected p-values.
        draws: the calibration draws and the new ones, in nats.
        floor: 1 + T: the minimum allowed shift of the median of the sum and of each token, in nats.
        of: the tokens of the response.
        by_distance: whether the distance over all tokens takes the place of the sum. It is beyond
            its band, the mean of theirs, only if a token is beyond its own.
    """
    calibration, new = draws
    moved = shifts(calibration, new)
    allowed = bands(calibration, len(new), floor=floor)
    if by_distance:
        moved[0], allowed[0] = np.abs(moved[1:]).mean(), allowed[1:].mean()
    beyond = np.abs(moved) > allowed
    columns = {
        Evidence.EXACT_REPEATS: beyond,
        Evidence.SUM: beyond[:1],
        Evidence.TOKENS: beyond[1:],
    }
    # A significant but small shift of the sum may come with a large one of a token.
    evidence = min(significant, key=lambda one: (not columns[one].any(), significant[one]))
    column = _column(evidence, _excess(moved, allowed), by_distance=by_distance)
    effect = Effect(
        evidence=evidence,
        p_value=significant[evidence],
        shift=float(moved[0]),
        band=float(allowed[0]),
        deciding=_deciding(column, draws, floor=floor, of=of),
        tokens=token_shifts(calibration, new, of),
        by_distance=by_distance,
    )
    return effect, bool(columns[evidence].any())


def _excess(moved: Floats, allowed: Floats) -> Floats:
    """Return the shift of each column in bands; a floor of 0 may give a band of 0."""
    moved = np.abs(moved)
    without_band = np.where(moved > 0, np.inf, 0.0)
    excess: Floats = np.divide(moved, allowed, out=without_band, where=allowed > 0)
    return excess


def _column(evidence: Evidence, excess: Floats, *, by_distance: bool) -> int:
    """Return the index of the deciding column: 0 for the sum, then the tokens.

    Args:
        evidence: the statistic that found the difference.
        excess: the shift of each column, in bands.
        by_distance: whether there is no sum, so that a token decides.
    """
    furthest = 1 + int(np.argmax(excess[1:]))
    if by_distance:
        return furthest
    match evidence:
        case Evidence.SUM:
            return 0
        case Evidence.TOKENS:
            return furthest
        case Evidence.EXACT_REPEATS:
            # Concerns both; where both are beyond or both within the band, the sum decides.
            return furthest if excess[furthest] > 1 >= excess[0] else 0
        case _:
            assert_never(evidence)


def _deciding(
    column: int, draws: tuple[Floats, Floats], *, floor: float | Floats, of: Encoding
) -> Deciding:
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
    """Return the tokens with the largest shifts of the median, largest first."""
    expected, observed = np.median(calibration, axis=0), np.median(new, axis=0)
    moved = np.abs(observed - expected)
    order: list[int] = np.argsort(-moved, kind="stable")[:_MAX_TOKENS].tolist()
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


def band_of(calibration: Floats, new: int, *, floor: float | Floats) -> float:
    """Return the allowed shift of the median of the sum, in nats."""
    return float(bands(calibration, new, floor=floor)[0])


def equivalence_of(
    calibration: Sequence[float], new: Sequence[float], *, repeats: int, floor: float
) -> Equivalence:
    """Return how much a cell without a difference is known to agree.

    Args:
        calibration: the sums of the calibration draws, in nats.
        new: the sums of the new ones.
        repeats: the number of new draws that repeat a calibration draw exactly.
        floor: the minimum allowed shift of the sum, in nats.
    """
    if repeats == len(new):
        return Equivalence.IDENTICAL
    if difference_bound(np.asarray(calibration), np.asarray(new)) <= floor:
        return Equivalence.EQUIVALENT
    return Equivalence.NOT_SHOWN


def repeated(calibration: Floats, new: Floats) -> int:
    """Return the number of new draws that repeat a calibration draw exactly."""
    apart = np.abs(new[:, np.newaxis] - calibration[np.newaxis]).max(axis=2)
    return int((apart <= RESOLUTION_NATS).any(axis=1).sum())
