"""What a tolerance promises for the suite as a whole, before anything is measured.

The stated false-alarm rate is shared: the cells' own tests, the test of the suite as a whole, the
outliers and the A/A controls each have a part of it, so that together they keep it (the union
bound).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from repro_gate.core.logprobs.policy import Tolerance

CELLS_SHARE: Final = 0.5
SUITE_SHARE: Final = 0.3
OUTLIERS_SHARE: Final = 0.1
CONTROLS_SHARE: Final = 0.1
TESTS: Final = 3
"""Statistics that are looked at in the suite as a whole: coincidences, sums, tokens."""
COINCIDENCES_WEIGHT: Final = 0.6
"""The part of a cell's level that its coincidences have, where any draws coincide."""
CORRECTION: Final = 2
"""What the smallest p-value of a cell is multiplied by at least, where none do."""
SCREEN: Final = 0.012
"""A cell gets a second look when one of its tests is below this in the first."""
CONFIRMATION: Final = 0.05
"""And the second look has to say the same by itself, at this level."""
FIRST_WAVE: Final = 2
"""Draws that every cell gets before it is asked whether more could change the decision."""
MAX_LABELINGS: Final = 2_000_000
"""Of more ways to divide the draws a sample of so many is taken."""
WHOLE_SAMPLES: Final = 19_999
"""Random divisions of a test over several cells; no p-value of it is below 1 / 20,000."""
MIN_SIZE_SHARE: Final = 0.1
"""The effective sample size that weights need, as a share of the items."""
WEIGHTS_RATE: Final = 0.01
"""How often the mean of usable weights may be judged too far from 1, by the choice of items."""
MIN_WEIGHTS: Final = math.ceil(math.log(WEIGHTS_RATE / 2) / math.log1p(-MIN_SIZE_SHARE))
"""Items below which weights are undetermined: usable ones of so small an effective size may be
almost 0 on every one of fewer items, more often than the rate allows."""
MIN_CLONE_WEIGHTS: Final = 3
"""Items below which those of a clone are undetermined too: fewer have no typical one."""
_NOISY_SHARE = 0.1
_NOISE_NATS = 1.56
"""The noise published for a hosted service: so many draws are off, with this standard deviation."""
_DEVIATIONS = 4
MAX_NOISE_NATS: Final = _DEVIATIONS * _NOISE_NATS
"""By that noise hardly any log-ratio of a clone is further from 0."""
_MAD_EFFICIENCY = 0.45
"""Degrees of freedom that a MAD is worth, over those of a standard deviation; see below."""
_MAX_DRAWS = 100


def smallest_p(calibration: int, new: int) -> float:
    """Return the smallest p-value that a permutation test of these sample sizes can give."""
    labelings = math.comb(calibration + new, new)
    # With samples of equal size, exchanging them whole gives the same statistic.
    attained = (2 if calibration == new else 1) / labelings
    return max(attained, 1 / (MAX_LABELINGS + 1))


def cell_level(tolerance: Tolerance, cells: int) -> float:
    """Return what the p-value of the first of `cells` cells must not exceed, by Holm."""
    return CELLS_SHARE * tolerance.false_alarm_rate / cells


def suite_level(tolerance: Tolerance) -> float:
    """Return what each p-value of the test of the whole must not exceed."""
    return SUITE_SHARE * tolerance.false_alarm_rate / TESTS


def control_level(tolerance: Tolerance, clones: int) -> float:
    """Return what the p-value of the A/A control of one of `clones` clones must not exceed."""
    return CONTROLS_SHARE * tolerance.false_alarm_rate / max(1, clones)


def smallest_control_p(draws: Iterable[tuple[int, int]]) -> float:
    """Return the smallest p-value of an A/A control with so many draws of base and clone."""
    attained = math.prod(smallest_p(base, clone) for base, clone in draws)
    return max(attained, 1 / (WHOLE_SAMPLES + 1))


def weights_doubt(
    items: int, *, control: Sequence[tuple[int, int]] | None, level: float
) -> str | None:
    """Return why so many items cannot show whether weights are usable, or None when they can.

    Args:
        items: how many weights there are.
        control: the numbers of draws of base and clone, by item; None of a policy that is none.
        level: what the p-value of the control must not exceed.
    """
    if control is None:
        if items >= MIN_WEIGHTS:
            return None
        return f"{items} items are too few, at least {MIN_WEIGHTS} are needed"
    if items < MIN_CLONE_WEIGHTS:
        return (
            f"the A/A control needs at least {MIN_CLONE_WEIGHTS} items, and there "
            f"{'is' if items == 1 else 'are'} {items}"
        )
    smallest = smallest_control_p(control)
    if smallest <= level:
        return None
    return (
        f"the A/A control cannot fail: with {items} items its smallest p-value is {smallest:.2g}, "
        f"not at most {level:.2g}; take more draws or more items"
    )


def max_noise(items: int) -> float:
    """Return the largest root mean square, in nats, that noise explains of a clone's log-ratios.

    Of the noise published for a hosted service, staying the same for a whole session, so that no
    median removes it: its mean square and four standard errors.
    """
    one = _NOISY_SHARE * _NOISE_NATS**2
    square, fourth = 2 * one, 6 * _NOISY_SHARE * _NOISE_NATS**4 + 6 * one**2
    error = math.sqrt((fourth - square**2) / items)
    return math.sqrt(square + _DEVIATIONS * error)


def has_power(tolerance: Tolerance, cells: int) -> bool:
    """Tell whether a cell could ever be found to drift."""
    calibration, draws = tolerance.calibration_draws, tolerance.draws
    return (
        CORRECTION * smallest_p(calibration, 2 * draws) <= cell_level(tolerance, cells)
        and smallest_p(calibration, draws) <= SCREEN
    )


def sufficient_draws(tolerance: Tolerance, cells: int) -> int | None:
    """Return the fewest draws in a look with which a cell could alarm, or None."""
    for draws in range(FIRST_WAVE, _MAX_DRAWS + 1):
        candidate = Tolerance(
            calibration_draws=tolerance.calibration_draws,
            draws=draws,
            false_alarm_rate=tolerance.false_alarm_rate,
        )
        if has_power(candidate, cells):
            return draws
    return None


def max_outliers(tolerance: Tolerance, draws: int) -> int:
    """Return how many outliers among so many draws are no finding yet.

    A service of which `max_outlier_rate` of all draws are outliers shows more than these with a
    probability of at most the share of the error rate that the outliers have.
    """
    level = OUTLIERS_SHARE * tolerance.false_alarm_rate
    return next(
        count
        for count in range(int(tolerance.max_outlier_rate * draws), draws + 1)
        if _binomial_tail(draws, tolerance.max_outlier_rate, above=count) <= level
    )


def outlier_alarm_rate(tolerance: Tolerance, cells: int) -> float:
    """Return how often outliers would be a finding though all draws are normal.

    A new normal draw over the median and MAD of n calibration draws behaves like Student's t
    with about 0.45 (n - 1) degrees of freedom; `benchmarks/logprob_power.py` prints the measured
    tail beside this one.
    """
    n = tolerance.calibration_draws
    degrees = max(1, int(_MAD_EFFICIENCY * (n - 1)))
    each = student_tail(tolerance.outlier_factor / math.sqrt(1 + 1 / n), degrees)
    return max(
        _binomial_tail(cells * draws, each, above=max_outliers(tolerance, cells * draws))
        for draws in (min(FIRST_WAVE, tolerance.draws), tolerance.draws)
    )


def student_tail(t: float, degrees: int) -> float:
    """Return P(|T| > t) of Student's t with a whole number of degrees of freedom.

    The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4. (scipy would have to be
    imported for it by everyone who reads a matrix.)
    """
    theta = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for step in range(1 + odd, degrees, 2):
        total += term
        term *= cosine * cosine * step / (step + 1)
    inside = 2 / math.pi * (theta + sine * total) if odd else sine * total
    return max(0.0, 1 - inside)


def _binomial_tail(trials: int, chance: float, *, above: int) -> float:
    """Return P(X > above) of a binomial X."""
    if chance <= 0 or above >= trials:
        return 0.0
    if chance >= 1:
        return 1.0
    inside = math.fsum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(count + 1)
            - math.lgamma(trials - count + 1)
            + count * math.log(chance)
            + (trials - count) * math.log1p(-chance)
        )
        for count in range(above + 1)
    )
    return max(0.0, 1 - inside)
