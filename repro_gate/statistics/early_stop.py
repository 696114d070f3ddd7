"""Early stopping of a first look that can no longer become suspicious."""

import math
from functools import lru_cache

import numpy as np

from repro_gate.core.logprobs.error_rates import LOOK_LABELINGS, SCREEN
from repro_gate.statistics.permutation import Floats, labelings, same_pairs, standardised

_TIE = 1e-9


def is_decided(calibration: Floats, drawn: Floats, *, planned: int) -> bool:
    """Return whether a first look of `planned` draws can no longer become suspicious.

    The bound assumes the most suspicious values for the remaining draws.
    """
    remaining = planned - len(drawn)
    if remaining <= 0:
        return False
    pooled = np.concatenate([calibration, drawn])
    return (
        min(_best_location(pooled, drawn, remaining), _best_exact_repeats(pooled, drawn, remaining))
        > SCREEN
    )


def _best_exact_repeats(pooled: Floats, drawn: Floats, remaining: int) -> float:
    """Return a lower bound of the p-value of exact repeats.

    It is smallest when no remaining draw repeats a calibration draw, and all of them repeat each
    other and every draw that is not in the calibration: any other division separates them.
    """
    pattern = same_pairs(pooled).astype(np.bool_)
    return _exact_repeats_bound(pattern.tobytes(), len(pooled), len(drawn), remaining)


@lru_cache(maxsize=1024)
def _exact_repeats_bound(pattern: bytes, drawn: int, new: int, remaining: int) -> float:
    """Return the bound for a pattern of equal draws; cached, as most cells share theirs."""
    n, k = drawn + remaining, new + remaining
    same = np.eye(n)
    same[:drawn, :drawn] = np.frombuffer(pattern, dtype=np.bool_).reshape(drawn, drawn)
    is_new = ~same[:, : n - k].any(axis=1)
    same[np.ix_(is_new, is_new)] = 1
    ways = labelings(n - k, k, limit=LOOK_LABELINGS)
    observed = (np.arange(n) >= n - k).astype(np.float64)
    crossing = observed @ same @ (1 - observed)
    extreme = sum(
        int((((rows @ same) * (1 - rows)).sum(axis=1) <= crossing + _TIE).sum())
        for rows in ways.chunks()
    )
    return ways.p_value(extreme)


def _best_location(pooled: Floats, drawn: Floats, remaining: int) -> float:
    """Return a lower bound of the p-values of sum and tokens.

    Remaining draws at infinite distance are new in every division as extreme as the observed one,
    so the existing draws decide: the extreme divisions are the choices of as many existing draws
    with at least as large a sum.
    """
    n, j = len(pooled), len(drawn)
    columns = standardised(pooled)
    ways = labelings(n - j, j, limit=LOOK_LABELINGS)
    observed = columns[n - j :].sum(axis=0)
    above, below = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    for rows in ways.chunks():
        sums = rows @ columns
        above += (sums >= observed - _TIE).sum(axis=0)
        below += (sums <= observed + _TIE).sum(axis=0)
    share = float(min(above.min(), below.min())) / ways.count
    return share * math.comb(n, j) / math.comb(n + remaining, j + remaining)
