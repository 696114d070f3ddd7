"""Other ways to decide whether log-probabilities have changed, to measure the gate against.

Each gets the same calibration draws as the gate, and as many new draws of every cell as a first
look of the gate has at most. The test of arXiv 2512.03816 gets 10 on both sides, as it wants.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from repro_gate.core.logprobs.baseline import RESOLUTION_NATS
from repro_gate.statistics.cell import repeated
from repro_gate.statistics.permutation import Floats

SDS = "mean+-k sd"
EQUAL_SUITE = "equal: suite"
EQUAL_CELL = "equal: cell"
LT_CELL = "LT: cell"
LT_SUITE = "LT: suite"
RIVALS: Final = (SDS, EQUAL_SUITE, EQUAL_CELL, LT_CELL, LT_SUITE)
"""The statistics that are calibrated to one and the same rate of false alarms."""

_SDS = 3.0
_LIKELIEST = 5
"""Most alternatives that a hosted API returns."""
_PERMUTATIONS = 1000
_TIE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Draws before and after, cells x draws x values."""

    before: Floats
    after: Floats


def statistics_of(responses: Samples, firsts: Samples) -> Mapping[str, float]:
    """Return the statistic of each rival for a whole suite; the larger, the more suspicious."""
    unequal = unequal_draws(responses)
    distances = [
        _distance(*_likeliest(old, new))
        for old, new in zip(firsts.before, firsts.after, strict=True)
    ]
    return {
        SDS: _furthest_mean(responses),
        EQUAL_SUITE: float(unequal.sum()),
        EQUAL_CELL: float(unequal.max()),
        LT_CELL: max(distances),
        LT_SUITE: float(np.mean(distances)),
    }


def largest_possible(rival: str, *, cells: int, draws: int) -> float:
    """Return the statistic that nothing exceeds."""
    return {EQUAL_SUITE: float(cells * draws), EQUAL_CELL: float(draws)}.get(rival, np.inf)


def unequal_draws(responses: Samples) -> Floats:
    """Return for each cell how many new draws repeat no calibration draw to the last digit."""
    return np.asarray(
        [
            len(new) - repeated(old, new)
            for old, new in zip(responses.before, responses.after, strict=True)
        ],
        dtype=np.float64,
    )


def is_beyond_three_sds(responses: Samples) -> bool:
    """Return whether a new sum is over 3 standard deviations from the calibration's mean."""
    old, new = responses.before.sum(axis=2), responses.after.sum(axis=2)
    far = np.abs(new - old.mean(axis=1, keepdims=True))
    allowed = _SDS * old.std(axis=1, ddof=1, keepdims=True) + RESOLUTION_NATS
    return bool((far > allowed).any())


def tracking_alarms(firsts: Samples, generator: np.random.Generator, *, level: float) -> bool:
    """Return whether the test of arXiv 2512.03816 rejects for any cell, by Bonferroni.

    As its code defines it: the p-value is the share of 1,000 permutations, without the observed
    one. (Differences by rounding alone are taken for ties, which is in its favour.)
    """
    count = firsts.before.shape[1]
    labels = generator.permuted(
        np.tile(np.arange(2 * count) < count, (_PERMUTATIONS, 1)), axis=1
    ).astype(np.float64)
    weights = (2 * labels - 1) / count
    for old, new in zip(firsts.before, firsts.after, strict=True):
        pooled = np.concatenate(_likeliest(old, new))
        permuted = np.abs(weights @ pooled).mean(axis=1)
        observed = _distance(pooled[:count], pooled[count:])
        if (permuted >= observed - _TIE).mean() <= level / len(firsts.before):
            return True
    return False


def _furthest_mean(responses: Samples) -> float:
    """Return the largest difference of the means of the sums, in standard deviations."""
    old, new = responses.before.sum(axis=2), responses.after.sum(axis=2)
    far = np.abs(new.mean(axis=1) - old.mean(axis=1))
    deviation = old.std(axis=1, ddof=1)
    far[far <= RESOLUTION_NATS] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(deviation > RESOLUTION_NATS, far / deviation, np.inf)
    return float(np.where(far > 0, ratios, 0.0).max())


def _likeliest(old: Floats, new: Floats) -> tuple[Floats, Floats]:
    """Return draws x tokens: those that were among the likeliest in any of the draws.

    Where one was not, the least likely one that was returned stands in for it (left-censoring).
    """
    pooled = np.concatenate([old, new])
    best = np.argpartition(pooled, -_LIKELIEST, axis=1)[:, -_LIKELIEST:]
    least = np.take_along_axis(pooled, best, axis=1).min(axis=1, keepdims=True)
    censored = np.maximum(pooled[:, np.unique(best)], least)
    return censored[: len(old)], censored[len(old) :]


def _distance(old: Floats, new: Floats) -> float:
    return float(np.abs(old.mean(axis=0) - new.mean(axis=0)).mean())
