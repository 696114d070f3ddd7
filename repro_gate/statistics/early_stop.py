"""May more draws still change the decision? If not, they are not made."""

import math
from functools import lru_cache

import numpy as np

from repro_gate.core.logprobs.error_rates import MAX_LABELINGS, SCREEN
from repro_gate.statistics.permutation import Floats, labelings, same_pairs, standardised

_TIE = 1e-9


def is_decided(calibration: Floats, drawn: Floats, *, planned: int) -> bool:
    """Tell whether a first look of `planned` draws cannot become suspicious any more.

    The bound is strict: it grants the remaining draws whatever values would help most.
    """
    remaining = planned - len(drawn)
    if remaining <= 0:
        return False
    pooled = np.concatenate([calibration, drawn])
    return (
        min(_best_location(pooled, drawn, remaining), _best_coincidence(pooled, drawn, remaining))
        > SCREEN
    )


def _best_coincidence(pooled: Floats, drawn: Floats, remaining: int) -> float:
    """Return a bound below the p-value of the coincidences.

    It is smallest when no remaining draw repeats a calibration draw, and all of them repeat each
    other and whatever else was not in the calibration: every other division then tears them apart.
    """
    pattern = same_pairs(pooled).astype(np.bool_)
    return _coincidence_bound(pattern.tobytes(), len(pooled), len(drawn), remaining)


@lru_cache(maxsize=1024)
def _coincidence_bound(pattern: bytes, drawn: int, new: int, remaining: int) -> float:
    """Return the bound for a pattern of equal draws, which most cells of a service share."""
    n, k = drawn + remaining, new + remaining
    same = np.eye(n)
    same[:drawn, :drawn] = np.frombuffer(pattern, dtype=np.bool_).reshape(drawn, drawn)
    is_unheard_of = ~same[:, : n - k].any(axis=1)
    same[np.ix_(is_unheard_of, is_unheard_of)] = 1
    ways = labelings(n - k, k, most=MAX_LABELINGS)
    observed = (np.arange(n) >= n - k).astype(np.float64)
    crossing = observed @ same @ (1 - observed)
    extreme = sum(
        int((((rows @ same) * (1 - rows)).sum(axis=1) <= crossing + _TIE).sum())
        for rows in ways.chunks()
    )
    return ways.p_value(extreme)


def _best_location(pooled: Floats, drawn: Floats, remaining: int) -> float:
    """Return a bound below the p-values of sum and tokens.

    Remaining draws that are infinitely far off are new in every division that is as extreme as the
    observed one, and the draws that are there decide among those: as many divisions are at least
    as extreme as there are choices of so many of them whose sum is at least as large.
    """
    n, j = len(pooled), len(drawn)
    columns = standardised(pooled)
    ways = labelings(n - j, j, most=MAX_LABELINGS)
    observed = columns[n - j :].sum(axis=0)
    above, below = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    for rows in ways.chunks():
        sums = rows @ columns
        above += (sums >= observed - _TIE).sum(axis=0)
        below += (sums <= observed + _TIE).sum(axis=0)
    share = float(min(above.min(), below.min())) / len(ways.rows)
    return share * math.comb(n, j) / math.comb(n + remaining, j + remaining)
