"""How much sessions of calibration draws differ, and a band for the median of another one.

The model is y = mu + b(session) + w(draw), with the variance components of a one-way analysis of
variance. Whether b differs at all is tested by moving draws between sessions, for any noise.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from repro_gate.core.logprobs.baseline import RESOLUTION_NATS
from repro_gate.core.logprobs.sessions import (
    BAND_SESSIONS,
    DIFFERENCE_LEVEL,
    SessionNoise,
    SessionTotals,
    time_of,
)
from repro_gate.statistics.bands import columns_of
from repro_gate.statistics.permutation import Floats

Integers = npt.NDArray[np.intp]

_SHUFFLES = 1999
_SEED = 20_261_130
"""Fixed, so that the same draws give the same report."""
_TIE = 1e-9
_BATCH = 256
"""Cells whose shuffled sums are in memory at the same time."""
_BAND_QUANTILE = 0.995
"""Two-sided, so that a median of normal sessions is beyond the band in 1 % of cases."""
_SUITE_QUANTILE = 0.99


def session_noise(cells: Iterable[SessionTotals]) -> SessionNoise | None:
    """Return what the baselines of some cells show about sessions; None without a cell."""
    cells = list(cells)
    if not cells:
        return None
    starts = sorted((each.started_at for cell in cells for each in cell.sessions), key=_order)
    fewest = min(len(cell.sessions) for cell in cells)
    draws = min(size for cell in cells for size in cell.sizes)
    several = [cell for cell in cells if len(cell.sessions) > 1]
    parts = np.array([_components(cell) for cell in several if len(cell.totals) > len(cell.sizes)])
    has_parts = fewest > 1 and len(parts) > 0
    bands = [float(_bands(_column(cell), cell.sizes)[0]) for cell in cells if _has_band(cell.sizes)]
    return SessionNoise(
        sessions=fewest,
        draws=draws,
        first=starts[0],
        last=starts[-1],
        within=float(parts[:, 0].mean()) if has_parts else None,
        between=max(0.0, float(parts[:, 1].mean())) if has_parts else None,
        p_value=difference_p(several) if fewest > 1 else None,
        missed=missed_share(fewest, draws) if fewest > 1 and draws > 1 else None,
        band=float(np.median(bands)) if fewest >= BAND_SESSIONS else None,
    )


def _order(text: str) -> tuple[bool, float, str]:
    """Return the sort key of a time; one that cannot be read is the last."""
    try:
        return False, time_of(text).timestamp(), text
    except (ValueError, OverflowError):
        return True, 0.0, text


def _components(cell: SessionTotals) -> tuple[float, float]:
    """Return the variances within and between sessions, the latter possibly below 0."""
    totals = np.asarray(cell.totals)
    if np.ptp(totals) <= RESOLUTION_NATS:
        # The rest is rounding, whose ratio means nothing.
        return 0.0, 0.0
    groups = _divided(totals, cell.sizes)
    n, s = len(cell.totals), len(groups)
    varied = (group for group in groups if np.ptp(group) > RESOLUTION_NATS)
    within = math.fsum(float(((group - group.mean()) ** 2).sum()) for group in varied) / (n - s)
    mean = float(np.mean(cell.totals))
    squares = math.fsum(len(group) * float(group.mean() - mean) ** 2 for group in groups)
    # The number of draws of a session, which is their average where all are equal.
    each = (n - sum(size * size for size in cell.sizes) / n) / (s - 1)
    return within, (squares / (s - 1) - within) / each


def difference_p(cells: Sequence[SessionTotals]) -> float:
    """Return the p-value of no difference between the sessions of cells, of two or more each.

    The statistic is the sum over the cells of the share of the sum of squares that is between
    sessions, which grows with F. Draws of equal number are moved alike in all cells.
    """
    layouts: dict[tuple[int, ...], list[tuple[float, ...]]] = defaultdict(list)
    for cell in cells:
        layouts[cell.sizes].append(cell.totals)
    observed, shuffled = 0.0, np.zeros(_SHUFFLES)
    for sizes, totals in layouts.items():
        order = np.repeat(np.arange(len(sizes)), sizes)
        generator = np.random.default_rng([_SEED, *sizes])
        moved = generator.permuted(np.tile(order, (_SHUFFLES, 1)), axis=1)
        for start in range(0, len(totals), _BATCH):
            values = _standardised(np.asarray(totals[start : start + _BATCH]).T)
            observed += float(_shares(order[np.newaxis], sizes, values)[0])
            shuffled += _shares(moved, sizes, values)
    return float((np.sum(shuffled >= observed - _TIE) + 1) / (_SHUFFLES + 1))


def _shares(orders: Integers, sizes: Sequence[int], values: Floats) -> Floats:
    """Return the statistic for each order of the draws, R x n numbers of sessions."""
    shares = np.zeros(len(orders))
    for session, size in enumerate(sizes):
        sums = (orders == session).astype(np.float64) @ values
        shares += np.square(sums).sum(axis=1) / size
    return shares


def _standardised(values: Floats) -> Floats:
    """Return n x C values with a mean of 0 and a sum of squares of 1 in each cell, or all 0."""
    centred = values - values.mean(axis=0)
    constant = np.ptp(values, axis=0) <= RESOLUTION_NATS
    scale = np.sqrt(np.square(centred).sum(axis=0))
    found: Floats = np.where(constant, 0.0, centred) / np.where(constant, 1.0, scale)
    return found


def missed_share(sessions: int, draws: int) -> float:
    """Return how often F misses a variance between sessions as large as that within.

    Args:
        sessions: at least two.
        draws: of each, at least two.
    """
    from scipy.special import fdtr, fdtri  # noqa: PLC0415 -- slow: not for a dry run

    degrees = sessions - 1, sessions * (draws - 1)
    return float(fdtr(*degrees, fdtri(*degrees, 1 - DIFFERENCE_LEVEL) / (1 + draws)))


def floors_of(calibration: Floats, sizes: Sequence[int], *, floor: float) -> Floats:
    """Return 1 + T: the smallest shifts of the sum and of each token that can be drift, in nats.

    With enough sessions it is at least the band of the median of another session, so that
    differences between sessions are no drift.

    Args:
        calibration: the draws of all sessions, in nats.
        sizes: the number of draws of each session.
        floor: the configured one.
    """
    floors = np.full(1 + calibration.shape[1], floor)
    return np.maximum(floors, _bands(calibration, sizes)) if _has_band(sizes) else floors


def _has_band(sizes: Sequence[int]) -> bool:
    return len(sizes) >= BAND_SESSIONS


def _bands(calibration: Floats, sizes: Sequence[int]) -> Floats:
    """Return 1 + T: how far the median of another session may be, by Student's t.

    It is exact for normal medians only, and a yardstick otherwise.
    """
    groups = _divided(columns_of(calibration), sizes)
    medians = np.array([np.median(group, axis=0) for group in groups])
    found: Floats = _factor(len(sizes), _BAND_QUANTILE) * medians.std(axis=0, ddof=1)
    return found


def shifts_between(
    calibration: Floats, sizes: Sequence[int], *, by_distance: bool = False
) -> Floats:
    """Return S: how far the median of each session's sums is from that of all others, in nats.

    Empty with too few sessions for a band. With `by_distance` it is the mean over the tokens of
    how far their medians are.
    """
    if not _has_band(sizes):
        return np.zeros(0)
    values = calibration if by_distance else calibration.sum(axis=1, keepdims=True)
    session = np.repeat(np.arange(len(sizes)), sizes)
    apart = np.array(
        [
            np.median(values[session == number], axis=0)
            - np.median(values[session != number], axis=0)
            for number in range(len(sizes))
        ]
    )
    found: Floats = np.abs(apart).mean(axis=1)
    return found


def suite_band(cells: Sequence[Floats]) -> float:
    """Return the typical shift that another session may have; 0 with too few sessions.

    Args:
        cells: `shifts_between` of each cell.
    """
    fewest = min(map(len, cells), default=0)
    if fewest < BAND_SESSIONS:
        return 0.0
    typical = np.median([cell[-fewest:] for cell in cells], axis=0)
    return float(typical.mean() + _factor(fewest, _SUITE_QUANTILE) * typical.std(ddof=1))


def _factor(sessions: int, quantile: float) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415 -- slow: not for a dry run

    return float(stdtrit(sessions - 1, quantile)) * math.sqrt(1 + 1 / sessions)


def _column(cell: SessionTotals) -> Floats:
    return np.asarray(cell.totals)[:, np.newaxis]


def _divided(values: Floats, sizes: Sequence[int]) -> list[Floats]:
    ends = accumulate(sizes, initial=0)
    return [values[start:end] for start, end in pairwise(ends)]
