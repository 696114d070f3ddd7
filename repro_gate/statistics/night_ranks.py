"""Evidence that streams of numbers, one a night, have changed: ranks, bets and their sums.

Only the rank of a night among the earlier ones is used, whose distribution is known for
exchangeable nights, whatever they measure. Bets on small ranks multiply a wealth; the wealths of
all nights in which a change may have begun are added up (Shiryaev-Roberts). Vovk (2021), "Testing
randomness online", Statistical Science 36(4).
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from repro_gate.statistics.permutation import Floats

Counts = npt.NDArray[np.int64]

FIRST_BET: Final = 11
"""The first night with a bet; ranks among fewer are never small."""
_AGES: Final = 30
"""A step bet is given up at this age: it no longer pays."""
_WIDTHS: Final = np.array([1, 3])
"""A step bet of this width is on the lowest `width * (age + 1)` ranks."""
_KEPT: Final = np.array([0.05, 0.10])
"""The share of its wealth that each step bet keeps back."""
_STEP_WEIGHTS: Final = np.array([0.30, 0.30])
_POWERS: Final = np.array([0.25, 0.5, 0.8])
_POWER_WEIGHTS: Final = np.array([0.10, 0.15, 0.15])
_MAX_EVIDENCE: Final = 1e300
_MAX_SIGHT: Final = 400
"""Whole separation that is not found in so many nights is never found."""


def earlier_at_least(values: Floats) -> Counts:
    """Return how many earlier nights have at least the value of each night.

    Counted while blocks of nights are merged: each night in the right half of a block with the
    nights in the left half.

    Args:
        values: nights x streams.
    """
    nights, streams = values.shape
    counts = np.zeros((nights, streams), dtype=np.int64)
    codes = _codes(values)
    night, stream = (np.arange(count, dtype=np.int64) for count in values.shape)
    width = 1
    while width < nights:
        group = np.add.outer(night // (2 * width) * streams, stream)
        keys = group * nights + codes
        is_right = night // width % 2 == 1
        left, right = np.sort(keys[~is_right], axis=None), keys[is_right]
        # Each left half with a right one is complete, and the groups are in order.
        counts[is_right] += (group[is_right] + 1) * width - np.searchsorted(left, right)
        width *= 2
    return counts


def _codes(values: Floats) -> Counts:
    """Replace each value by its rank among the distinct values of its stream, from 0."""
    order = np.argsort(values, axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    steps = np.zeros(values.shape, dtype=np.int64)
    steps[1:] = ordered[1:] > ordered[:-1]
    codes = np.empty_like(steps)
    np.put_along_axis(codes, order, np.cumsum(steps, axis=0), axis=0)
    return codes


def evidence_of(counts: Counts, restarts: Collection[int] = ()) -> Floats:
    """Return the evidence of each stream in each night that a change has begun.

    Args:
        counts: nights x streams, from `earlier_at_least`.
        restarts: indices of nights before which all evidence is dropped.
    """
    nights, streams = counts.shape
    evidence = np.zeros((nights, streams))
    steps = np.zeros((len(_WIDTHS), _AGES, streams))
    powers = np.zeros((len(_POWERS), streams))
    for night in range(nights):
        if night in restarts:
            steps[:], powers[:] = 0, 0
        if night + 1 < FIRST_BET:
            continue
        # A wealth that begins in a night replaces the one that became too old.
        steps[:, night % _AGES] = 1
        ages = (night - np.arange(_AGES)) % _AGES
        steps *= _step_factors(counts[night], ages, night + 1)
        powers = (1 + powers) * _power_factors(counts[night], night + 1)
        np.minimum(steps, _MAX_EVIDENCE, out=steps)
        np.minimum(powers, _MAX_EVIDENCE, out=powers)
        evidence[night] = _STEP_WEIGHTS @ steps.sum(axis=1) + _POWER_WEIGHTS @ powers
    return np.minimum(evidence, _MAX_EVIDENCE)


def _step_factors(counts: Counts, ages: Counts, night: int | Counts) -> Floats:
    """Return bets x ages x streams: by what a night, counted from 1, multiplies the wealths.

    Args:
        counts: of the streams, or ages x streams where each age is another night.
        ages: of the wealths.
        night: the night, or ages x 1.
    """
    ranks = _WIDTHS[:, np.newaxis, np.newaxis] * (ages[:, np.newaxis] + 1)
    kept = _KEPT[:, np.newaxis, np.newaxis]
    won = kept + (1 - kept) / np.minimum(1, ranks / night)
    return np.where(1 + counts <= ranks, won, kept)


def _power_factors(counts: Counts, night: int) -> Floats:
    """Return bets x streams: by what a night, counted from 1, multiplies the wealths."""
    powers = _POWERS[:, np.newaxis]
    factors: Floats = powers * ((1 + counts) / night) ** (powers - 1)
    return factors


def start_of(counts: Counts, restarts: Collection[int] = ()) -> int:
    """Return the night in which the change of one stream began, by the largest step wealth.

    Args:
        counts: of one stream, up to the night of its alarm.
        restarts: indices of nights before which all evidence is dropped.
    """
    last = len(counts) - 1
    first = max(FIRST_BET - 1, last - _AGES + 1, *(night for night in restarts if night <= last))
    wealth = [_wealth(counts[start:], start) for start in range(first, last + 1)]
    return first + int(np.argmax(wealth))


def _wealth(counts: Counts, start: int) -> float:
    """Return the wealth of the step bets that began with the first of these nights."""
    ages: Counts = np.arange(len(counts), dtype=np.int64)
    factors = _step_factors(counts[:, np.newaxis], ages, (start + ages + 1)[:, np.newaxis])
    return float(_STEP_WEIGHTS @ factors.prod(axis=1)[:, 0])


def nights_to_alarm(quiet: int, threshold: float) -> int | None:
    """Return how many changed nights raise an alarm after quiet ones, or None for never.

    All quiet nights are alike, and all changed ones, which are beyond every quiet night.
    """
    alarms = _separated(quiet) >= threshold
    return int(alarms.argmax()) + 1 if alarms.any() else None


@lru_cache
def _separated(quiet: int) -> Floats:
    counts = np.concatenate([np.arange(quiet), np.arange(_MAX_SIGHT)])
    return evidence_of(counts[:, np.newaxis])[quiet:, 0]
