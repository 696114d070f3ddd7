"""Holm's correction for many tests."""

from collections.abc import Mapping
from typing import TypeVar

Key = TypeVar("Key")


def holm(p_values: Mapping[Key, float], *, tests: int) -> dict[Key, float]:
    """Return adjusted p-values; tests that are not given count as p = 1.

    Holm (1979), "A simple sequentially rejective multiple test procedure": the i-th smallest of m
    is multiplied by m - i + 1, and none is smaller than the one before it.
    """
    adjusted: dict[Key, float] = {}
    largest = 0.0
    for place, (key, p) in enumerate(sorted(p_values.items(), key=lambda entry: entry[1])):
        largest = max(largest, min(1.0, p * (tests - place)))
        adjusted[key] = largest
    return adjusted
