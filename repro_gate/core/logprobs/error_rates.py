"""Error rates of a tolerance, computed before anything is measured.

The configured false-alarm rate is divided among the tests of the cells, the test of the suite, the
outliers and the A/A controls; by the union bound they keep it together.
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
"""Statistics of the suite test: exact repeats, sums, tokens."""
EXACT_REPEATS_WEIGHT: Final = 0.6
"""The share of a cell's level that exact repeats get, where any draws coincide."""
CORRECTION: Final = 2
"""The factor on the smallest p-value of a cell where no draws coincide."""
SCREEN: Final = 0.012
"""A p-value of the first look at or below this leads to a second look."""
CONFIRMATION: Final = 0.05
"""The level at which the second look alone has to confirm the first."""
FIRST_WAVE: Final = 2
"""Draws of every cell before the early-stopping test."""
MAX_LABELINGS: Final = 2_000_000
"""More divisions of the draws than this are sampled."""
LOOK_LABELINGS: Final = 50_000
"""The same for one look, whose p-values are compared with `SCREEN` and `CONFIRMATION` alone."""
WHOLE_SAMPLES: Final = 19_999
"""Random divisions of a test over several cells; its smallest p-value is 1 / 20,000."""
MIN_SIZE_SHARE: Final = 0.1
"""Minimum effective sample size of usable weights, as a share of the items."""
WEIGHTS_RATE: Final = 0.01
"""Error rate of the test that the mean weight is 1."""
MIN_WEIGHTS: Final = math.ceil(math.log(WEIGHTS_RATE / 2) / math.log1p(-MIN_SIZE_SHARE))
"""Fewer items are undetermined: usable weights of the minimum effective size could all be near 0
more often than `WEIGHTS_RATE`."""
MIN_CLONE_WEIGHTS: Final = 3
"""The same for a clone: fewer items have no typical one."""
_NOISY_SHARE = 0.1
_NOISE_NATS = 1.56
"""The noise published for a hosted service: the share of draws that are off, and their standard
deviation."""
_DEVIATIONS = 4
MAX_NOISE_NATS: Final = _DEVIATIONS * _NOISE_NATS
"""With that noise hardly any log-ratio of a clone is farther from 0."""
_MAD_EFFICIENCY = 0.45
"""Degrees of freedom of a MAD relative to those of a standard deviation."""
_MAX_DRAWS = 100


def smallest_p(calibration: int, new: int) -> float:
    """Return the smallest possible p-value of a permutation test of these sample sizes."""
    labelings = math.comb(calibration + new, new)
    # With samples of equal size, exchanging them whole gives the same statistic.
    attained = (2 if calibration == new else 1) / labelings
    return max(attained, 1 / (MAX_LABELINGS + 1))


def cell_level(tolerance: Tolerance, cells: int) -> float:
    """Return the level of the smallest p-value among `cells` cells, by Holm."""
    return CELLS_SHARE * tolerance.false_alarm_rate / cells


def suite_level(tolerance: Tolerance) -> float:
    """Return the level of each p-value of the suite test."""
    return SUITE_SHARE * tolerance.false_alarm_rate / TESTS


def control_level(tolerance: Tolerance, clones: int) -> float:
    """Return the level of the A/A control of each of `clones` clones."""
    return CONTROLS_SHARE * tolerance.false_alarm_rate / max(1, clones)


def smallest_control_p(draws: Iterable[tuple[int, int]]) -> float:
    """Return the smallest possible p-value of an A/A control with these numbers of draws."""
    attained = math.prod(smallest_p(base, clone) for base, clone in draws)
    return max(attained, 1 / (WHOLE_SAMPLES + 1))


def weights_doubt(
    items: int, *, control: Sequence[tuple[int, int]] | None, level: float
) -> str | None:
    """Return why these items cannot determine whether weights are usable, or None.

    Args:
        items: the number of weights.
        control: draws of base and clone for each item; None unless the policy is a clone.
        level: the level of the control's p-value.
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
    """Return the largest root mean square of a clone's log-ratios that noise explains, in nats.

    It is the mean square of the published noise plus four standard errors, for noise that is
    constant within a session, so that no median removes it.
    """
    one = _NOISY_SHARE * _NOISE_NATS**2
    square, fourth = 2 * one, 6 * _NOISY_SHARE * _NOISE_NATS**4 + 6 * one**2
    error = math.sqrt((fourth - square**2) / items)
    return math.sqrt(square + _DEVIATIONS * error)


def has_power(tolerance: Tolerance, cells: int) -> bool:
    """Return whether a shift in a single cell can be detected at all."""
    calibration, draws = tolerance.calibration_draws, tolerance.draws
    return (
        CORRECTION * smallest_p(calibration, 2 * draws) <= cell_level(tolerance, cells)
        and smallest_p(calibration, draws) <= SCREEN
    )


def sufficient_draws(tolerance: Tolerance, cells: int) -> int | None:
    """Return the smallest number of draws per look that gives power, or None."""
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
    """Return the largest number of outliers among so many draws that is no finding.

    A service with an outlier rate of `max_outlier_rate` exceeds it with at most the outliers' share
    of the false-alarm rate.
    """
    level = OUTLIERS_SHARE * tolerance.false_alarm_rate
    return next(
        count
        for count in range(int(tolerance.max_outlier_rate * draws), draws + 1)
        if _binomial_tail(draws, tolerance.max_outlier_rate, above=count) <= level
    )


def outlier_alarm_rate(tolerance: Tolerance, cells: int) -> float:
    """Return the probability that normal draws give an outlier finding.

    A normal draw, standardised by the median and MAD of n calibration draws, is distributed about
    like Student's t with 0.45 (n - 1) degrees of freedom; `benchmarks/logprob_power.py` compares
    this with the measured tail.
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

    The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4; importing scipy would slow
    down every command that reads a matrix.
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
