"""A stratified permutation test of whether a suite as a whole has changed.

A changed model shifts every item a little, too little for a test of a single cell. The draws are
permuted within each cell, independently of the other cells, and the statistics are summed.
"""

from collections.abc import Collection, Sequence

import numpy as np

from repro_gate.core.logprobs.error_rates import CONFIRMATION, TESTS, WHOLE_SAMPLES, suite_level
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import SuiteTest, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Equivalence, Evidence
from repro_gate.statistics.bands import difference_bound, mean_bound, shifts
from repro_gate.statistics.cell import repeated
from repro_gate.statistics.permutation import (
    Floats,
    TwoSamples,
    contributions,
    labelings,
    two_samples,
)
from repro_gate.statistics.sessions import shifts_between, suite_band

_POOL = 20_000
"""Divisions per cell to sample from; all of them where there are fewer."""
_TIE = 1e-9


class WholeSuite:
    """The test statistics, accumulated cell by cell in constant memory."""

    def __init__(self, *, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._observed = np.zeros(len(Evidence))
        self._sampled = np.zeros((WHOLE_SAMPLES, len(Evidence)))
        self.cells = 0
        """The number of added cells."""

    def add(self, samples: TwoSamples) -> None:
        """Add a cell; every cell needs the same number of new draws."""
        self.cells += 1
        if samples.is_constant():
            # All divisions are equal.
            return
        ways = labelings(samples.calibration, samples.new, limit=_POOL)
        observed, possible = contributions(samples, ways)
        self._observed += observed
        self._sampled += possible[self._generator.integers(0, len(possible), WHOLE_SAMPLES)]

    def p_values(self) -> dict[Evidence, float]:
        """Return the p-value of each of the three statistics."""
        least = self._observed - _TIE * np.maximum(1.0, self._observed)
        extreme = (self._sampled >= least).sum(axis=0)
        return {
            evidence: float((count + 1) / (WHOLE_SAMPLES + 1))
            for evidence, count in zip(Evidence, extreme, strict=True)
        }


_SEED_DIGITS = 8


class WholeLook:
    """The suite test of one look, and the mean shift of the cells."""

    def __init__(self, *, seed: str, second_look: bool) -> None:
        """Start with no cell.

        Args:
            seed: hexadecimal digits, so that the same draws give the same report.
            second_look: whether this is the look that confirms.
        """
        self._second_look = second_look
        self._suite = WholeSuite(seed=int(seed[:_SEED_DIGITS], 16) + second_look)
        self._shifts: list[float] = []
        self._differences: list[float] = []
        self._last: tuple[Floats, Floats] | None = None
        self._all_repeat = True
        self._between: list[Floats] = []
        """How far each session of a cell is from the others."""
        self._waiting: dict[str, tuple[Floats, Floats, Sequence[int], bool]] = {}

    def add(
        self,
        calibration: Floats,
        new: Floats,
        *,
        sizes: Sequence[int] = (),
        by_distance: bool = False,
        waits_as: str | None = None,
    ) -> None:
        """Add a cell with its calibration draws and its new ones, if there are any.

        Args:
            calibration: draws of all sessions, in nats.
            new: those of this look.
            sizes: the number of calibration draws of each session; empty when unknown.
            by_distance: whether its distance over all tokens takes the place of the sum.
            waits_as: the name of a cell that is added only once it is known whether it drifted
                individually.
        """
        if not len(new):
            return
        if waits_as is not None:
            self._waiting[waits_as] = calibration, new, sizes, by_distance
            return
        self._between.append(shifts_between(calibration, sizes, by_distance=by_distance))
        self._suite.add(two_samples(calibration, new, by_distance=by_distance))
        before, after = calibration.sum(axis=1), new.sum(axis=1)
        shift = np.median(after) - np.median(before)
        if by_distance:
            shift = np.abs(shifts(calibration, new)[1:]).mean()
        self._shifts.append(float(shift))
        self._differences.append(float(after.mean() - before.mean()))
        self._last = before, after
        self._all_repeat = self._all_repeat and repeated(calibration, new) == len(new)

    @property
    def is_suspicious(self) -> bool:
        """Whether a second look at all cells is necessary."""
        return TESTS * min(self._suite.p_values().values()) <= CONFIRMATION

    def result(self, tolerance: Tolerance, *, drifted: Collection[str] = ()) -> SuiteTest:
        """Return the result; call once.

        Cells that drifted individually are left out, unless they are the majority. This keeps the
        false-alarm rate: a cell that drifts although nothing has changed is a false alarm already.
        """
        found = self._waiting.keys() & drifted
        left_out = found if 2 * len(found) <= self._suite.cells + len(self._waiting) else set[str]()
        for name, (calibration, new, sizes, by_distance) in self._waiting.items():
            if name not in left_out:
                self.add(calibration, new, sizes=sizes, by_distance=by_distance)
        p_values = self._suite.p_values()
        evidence = min(p_values, key=p_values.__getitem__)
        # The median, so that a single large shift does not count for the other cells.
        typical = float(np.median(np.abs(self._shifts))) if self._shifts else 0.0
        bound = self._bound()
        band = suite_band(self._between)
        floor = max(tolerance.floor_nats, band)
        return SuiteTest(
            verdict=self._verdict(p_values[evidence], typical, tolerance, floor),
            cells=self._suite.cells,
            left_out=len(left_out),
            p_value=min(1.0, TESTS * p_values[evidence]),
            evidence=evidence,
            typical_shift=typical,
            second_look=self._second_look,
            mean_shift=float(np.mean(self._differences)) if self._differences else 0.0,
            mean_shift_bound=bound,
            equivalence=self._sameness(bound, tolerance),
            band=band if band > tolerance.floor_nats else None,
        )

    def _verdict(
        self, smallest: float, typical: float, tolerance: Tolerance, floor: float
    ) -> SuiteVerdict:
        if not self._suite.cells:
            return SuiteVerdict.NOT_TESTED
        if not self._second_look or smallest > suite_level(tolerance):
            return SuiteVerdict.AGREES
        if typical > floor:
            return SuiteVerdict.DRIFT
        return SuiteVerdict.CHANGED

    def _bound(self) -> float:
        if self._last is not None and len(self._differences) == 1:
            return difference_bound(*self._last)
        return mean_bound(np.asarray(self._differences))

    def _sameness(self, bound: float, tolerance: Tolerance) -> Equivalence:
        if self._suite.cells and self._all_repeat:
            return Equivalence.IDENTICAL
        return Equivalence.EQUIVALENT if bound <= tolerance.floor_nats else Equivalence.NOT_SHOWN
