"""Other rules for nights of a hosted model, to measure the watch against.

Each takes a world and returns in which nights it alarms.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.simulated_nights import CELLS, DRAWS, World
from repro_gate.statistics.permutation import Floats, labelings

Alarms: TypeAlias = npt.NDArray[np.bool_]
Rule: TypeAlias = Callable[[World], Alarms]

THREE_SDS: Final = "mean +- 3 sd"
PRODUCT: Final = "fixed baseline, product of e-values"
NIGHTLY: Final = "permutation tests, Benjamini-Hochberg 5 % a night"
LT_LIVE: Final = "LT live, 12 sd and 1 nat"
B3IT: Final = "B3IT-like, 4 sd on 3 nights"
_TIE = 1e-9
_PRODUCT_RATE = 0.01
_NIGHTLY_RATE = 0.05
_LT_NIGHTS = 5
"""24 draws, nearly."""
_LT_PAST = 101
_LT_FIRST = 33
_B3IT_PAST = 14
_B3IT_GAP = 4
_B3IT_FIRST = 9
_THRESHOLD = 36_500
"""Of the watch: nights of a year over its rate."""


def three_sds(world: World) -> Alarms:
    """Alarm where the mean of a night is farther from the calibration's than 3 of its sd."""
    center = world.calibration.mean(axis=1)
    deviation = world.calibration.std(axis=1, ddof=1)
    moved = np.abs(world.nights.mean(axis=2) - center)
    alarms: Alarms = (moved > 3 * deviation + _TIE).any(axis=1)
    return alarms


def permutation_p_values(world: World) -> Floats:
    """Return nights x cells: of the difference of means from the one calibration, exact."""
    calibration = world.calibration
    old, new = calibration.shape[1], world.nights.shape[2]
    rows = labelings(old, new, limit=10_000).rows
    p_values = np.empty(world.nights.shape[:2])
    for cell in range(len(calibration)):
        fixed = np.tile(calibration[cell], (len(world.nights), 1))
        both = np.concatenate([fixed, world.nights[:, cell]], axis=1)
        sums = both @ rows.T
        gaps = np.abs(sums / new - (both.sum(axis=1, keepdims=True) - sums) / old)
        seen = np.abs(world.nights[:, cell].mean(axis=1) - calibration[cell].mean())
        p_values[:, cell] = (gaps >= seen[:, np.newaxis] - _TIE).mean(axis=1)
    return p_values


def product_of_e_values(world: World) -> Alarms:
    """Alarm where the mean over cells of the products of calibrated p-values is 1 / rate.

    Each p-value is valid alone; all share the draws of one calibration.
    """
    p_values = np.minimum(permutation_p_values(world), 1 - _TIE)
    logs = np.log(p_values)
    # The mixture of all power calibrators (Vovk and Wang, arXiv 1912.06116).
    wealth = np.cumsum(np.log((1 - p_values + p_values * logs) / (p_values * logs**2)), axis=0)
    mean: Floats = np.exp(np.minimum(wealth, 600)).mean(axis=1)
    return mean >= 1 / _PRODUCT_RATE


def nightly_tests(world: World) -> Alarms:
    """Alarm where Benjamini-Hochberg rejects in a night."""
    ordered = np.sort(permutation_p_values(world), axis=1)
    levels: Floats = _NIGHTLY_RATE * np.arange(1, CELLS + 1) / CELLS
    alarms: Alarms = np.any(ordered <= levels, axis=1)
    return alarms


def lt_live(world: World) -> Alarms:
    """Alarm as LT does: 24 draws against the 24 before, far beyond the recent differences."""
    night = world.nights.mean(axis=2)
    nights = len(night)
    moved = np.full(night.shape, np.nan)
    for last in range(2 * _LT_NIGHTS - 1, nights):
        new, old = night[last - 4 : last + 1], night[last - 9 : last - 4]
        moved[last] = np.abs(new.mean(axis=0) - old.mean(axis=0))
    alarms = np.zeros(nights, dtype=np.bool_)
    for last in range(_LT_FIRST, nights):
        past = moved[max(9, last - 9 - _LT_PAST) : last - 9]
        bound = past.mean(axis=0) + 12 * past.std(axis=0)
        alarms[last] = ((moved[last] > bound) & (moved[last] > 1)).any()
    return alarms


def b3it(world: World) -> Alarms:
    """Alarm where a night is far from the 14 before, 3 nights in a row, as B3IT does."""
    night = world.nights.mean(axis=2)
    is_far = np.zeros(night.shape, dtype=np.bool_)
    for last in range(_B3IT_FIRST, len(night)):
        past = night[max(0, last - _B3IT_PAST - _B3IT_GAP) : last - _B3IT_GAP]
        bound = np.maximum(4 * past.std(axis=0), 0.2)
        is_far[last] = np.abs(night[last] - past.mean(axis=0)) > bound
    in_a_row = (is_far[2:] & is_far[1:-1] & is_far[:-2]).any(axis=1)
    return np.concatenate([np.zeros(2, dtype=np.bool_), in_a_row])


def knows_everything(world: World, *, nats: float, is_one_item: bool) -> Alarms:
    """Alarm at the rate of the watch, knowing that draws are normal, and the change.

    The sum over all first nights of the likelihood ratio; of one item it does not know which.
    """
    sums = -world.nights.sum(axis=2)
    logs = nats * sums - DRAWS * nats**2 / 2
    if not is_one_item:
        logs = logs.sum(axis=1, keepdims=True)
    evidence = np.zeros(logs.shape[1])
    alarms = np.zeros(len(logs), dtype=np.bool_)
    for night, each in enumerate(logs):
        evidence = (1 + evidence) * np.exp(each)
        alarms[night] = evidence.mean() >= _THRESHOLD
    return alarms


RIVALS: Final[Mapping[str, Rule]] = {
    PRODUCT: product_of_e_values,
    NIGHTLY: nightly_tests,
    THREE_SDS: three_sds,
    LT_LIVE: lt_live,
    B3IT: b3it,
}
