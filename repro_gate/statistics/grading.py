"""Whether cells are further from their goldens than harmless changes move them.

The distances of one cell, observed and under a harmless change, are a pair. If what was observed is
like that change, each is as likely to be the larger one, so every sign of every difference was
equally likely (Fisher 1935, "The design of experiments", 21). All signs are evaluated if they are
few enough, else a sample, with the +1 of Phipson and Smyth (2010).

A drift is beyond rounding if it is beyond every harmless change: the largest of the p-values counts
(Berger 1982, "Multiparameter hypothesis testing and acceptance sampling": the intersection-union
test needs no correction for their number).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from repro_gate.core.tokens.grade import detection_factor, min_cells
from repro_gate.statistics.permutation import Floats, holm, p_value_of

_MAX_EXACT_CELLS = 16
_SAMPLES = 100_000
_CHUNK = 1 << 20
_SEED = 20_261_130
"""Fixed, so that the same distances give the same report."""
_UNKNOWN = 1e-6
"""A reference has six significant digits of each distance, which is at most 0.5."""
_TIE = 1e-9
"""Sums of the same numbers in another order may differ by so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDistances:
    """The distances of the compared cells of one grade, in the same order."""

    observed: tuple[float, ...]
    variants: Mapping[str, tuple[float, ...]]
    """At least one harmless change, by name."""

    def shifts(self) -> Floats:
        """Return cells x variants: how much further the observed tokens are."""
        under = np.asarray(list(self.variants.values()), dtype=np.float64)
        shifts: Floats = (np.asarray(self.observed) - under).T
        return np.where(np.abs(shifts) < _UNKNOWN, 0.0, shifts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The statistics of one grade."""

    by_variant: Mapping[str, float]
    """The p-value of each harmless change."""
    p_value: float
    """The largest, after Holm's correction."""
    tests: int
    """The number of grades that it corrects for."""
    detectable_shift: float | None
    """Beyond the farthest variant; None with too few cells."""


def compare(grades: Sequence[CellDistances]) -> tuple[Comparison, ...]:
    """Return the statistics of all grades of a report, in order."""
    tests = len(grades)
    p_values = [
        dict(zip(each.variants, sign_flip_p_values(each.shifts()), strict=True)) for each in grades
    ]
    worst = {place: max(found.values()) for place, found in enumerate(p_values)}
    corrected = holm(worst, tests=tests)
    return tuple(
        Comparison(
            by_variant=p_values[place],
            p_value=corrected[place],
            tests=tests,
            detectable_shift=_detectable_shift(each, tests=tests),
        )
        for place, each in enumerate(grades)
    )


def sign_flip_p_values(shifts: Floats) -> tuple[float, ...]:
    """Return for each column the one-sided p-value of a mean that is not above 0.

    Args:
        shifts: cells x variants; at least one cell.
    """
    cells = len(shifts)
    is_complete = cells <= _MAX_EXACT_CELLS
    least = shifts.sum(axis=0) - _TIE
    extreme = sum((signs @ shifts >= least).sum(axis=0) for signs in _signs(cells))
    ways = 2**cells if is_complete else _SAMPLES
    counts = np.atleast_1d(extreme)
    return tuple(p_value_of(int(count), ways, is_complete=is_complete) for count in counts)


def _signs(cells: int) -> Iterator[Floats]:
    """Yield rows of signs, +1 or -1 for each cell: all of them, or a sample."""
    if cells <= _MAX_EXACT_CELLS:
        yield _all_signs(cells)
        return
    generator = np.random.default_rng([_SEED, cells])
    rows = max(1, _CHUNK // cells)
    for start in range(0, _SAMPLES, rows):
        flips = generator.integers(0, 2, (min(rows, _SAMPLES - start), cells), dtype=np.int8)
        yield np.where(flips, -1.0, 1.0)


@lru_cache(maxsize=4)
def _all_signs(cells: int) -> Floats:
    numbers = np.arange(2**cells, dtype=np.int64)[:, np.newaxis]
    return np.where(numbers & (1 << np.arange(cells, dtype=np.int64)), -1.0, 1.0)


def _detectable_shift(distances: CellDistances, *, tests: int) -> float | None:
    cells = len(distances.observed)
    if cells < min_cells(tests):
        return None
    # Only a test against each harmless change detects a shift, and nearer ones may vary more.
    shifts = distances.shifts()
    nearer = shifts.mean(axis=0) - shifts.mean(axis=0).min()
    spread = detection_factor(cells, tests=tests) * shifts.std(axis=0, ddof=1)
    return float((spread - nearer).max().clip(0.0))
