"""Numbers in JSON: finite, and with no more digits than mean something."""

import math
from collections.abc import Iterable

_DIGITS = 9
"""Enough for a sum of log-probabilities to the sixth decimal, and for a p-value of any size."""


def figure(value: float) -> float | None:
    """Return a number, or None where JSON has none."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def figures(values: Iterable[float]) -> list[float | None]:
    """Return numbers in order."""
    return [figure(value) for value in values]
