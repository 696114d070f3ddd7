"""Tolerance bands of a shift, and confidence bounds of a difference."""

import math

import numpy as np

from repro_gate.statistics.permutation import Floats

_COVERAGE = 0.99
_CONFIDENCE = 0.95
_NORMAL_MAD = 1.4826


def tolerance_factor(calibration: int, new: int) -> float:
    """Return the factor of the standard deviation for a band around the calibration's center.

    With 95 % confidence 99 % of the means of `new` draws fall within it. Howe (1969), "Two-sided
    tolerance limits for normal populations", with the variance of a mean of `new` draws; for one
    draw and 10 calibration draws it is the tabulated 4.44.
    """
    from scipy.special import chdtri, ndtri  # noqa: PLC0415 -- slow: not for a dry run

    degrees = calibration - 1
    quantile = ndtri((1 + _COVERAGE) / 2)
    spread = degrees * (1 + new / calibration) * quantile**2 / chdtri(degrees, _CONFIDENCE)
    return float(math.sqrt(spread / new))


def columns_of(draws: Floats) -> Floats:
    """Return draws x (1 + T): the sum of each draw, then its tokens."""
    return np.column_stack([draws.sum(axis=1), draws])


def shifts(calibration: Floats, new: Floats) -> Floats:
    """Return 1 + T: the shifts of the medians of the sum and of each token, in nats."""
    moved: Floats = np.median(columns_of(new), axis=0) - np.median(columns_of(calibration), axis=0)
    return moved


def bands(calibration: Floats, new: int, *, floor: float | Floats) -> Floats:
    """Return 1 + T: the allowed shift of each median, in nats."""
    columns = columns_of(calibration)
    deviations = np.abs(columns - np.median(columns, axis=0))
    scale = _NORMAL_MAD * np.median(deviations, axis=0)
    allowed: Floats = np.maximum(floor, tolerance_factor(len(calibration), new) * scale)
    return allowed


def difference_bound(calibration: Floats, new: Floats) -> float:
    """Return a bound that the difference of two means does not exceed, with 95 % confidence.

    Two one-sided t-tests (Schuirmann 1987) with Welch's degrees of freedom place the difference
    within +- d, at 5 %, exactly when d is at least this. Infinity with fewer than two draws.
    """
    if min(len(calibration), len(new)) < 2:  # noqa: PLR2004 -- a variance needs two
        return math.inf
    parts = [float(sample.var(ddof=1)) / len(sample) for sample in (calibration, new)]
    distance = abs(float(new.mean() - calibration.mean()))
    if sum(parts) == 0:
        return distance
    weights = [part**2 / (len(s) - 1) for part, s in zip(parts, (calibration, new), strict=True)]
    degrees = sum(parts) ** 2 / sum(weights)
    return distance + _student_quantile(degrees) * math.sqrt(sum(parts))


def mean_bound(differences: Floats) -> float:
    """Return the same bound for the mean of paired differences."""
    if len(differences) < 2:  # noqa: PLR2004 -- a variance needs two
        return math.inf
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return abs(float(differences.mean())) + _student_quantile(len(differences) - 1) * error


def _student_quantile(degrees: float) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415 -- slow: not for a dry run

    return float(stdtrit(degrees, _CONFIDENCE))
