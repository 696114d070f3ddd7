"""Draws as arrays."""

from collections.abc import Sequence

import numpy as np

from repro_gate.statistics.labelings import Floats


def as_array(draws: Sequence[Sequence[float]]) -> Floats:
    """Return draws x tokens, in nats."""
    return np.asarray(draws, dtype=np.float64)


def as_column(totals: Sequence[float]) -> Floats:
    """Return sums as draws of a single token, in nats."""
    return np.asarray(totals, dtype=np.float64)[:, np.newaxis]


def joined(first: Floats, second: Floats) -> Floats:
    """Return the draws of two looks as those of one."""
    return np.concatenate([first, second])
