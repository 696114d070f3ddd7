"""Has the suite as a whole changed? A stratified permutation test over all cells.

A changed model moves every item a little, where no single cell could show it. Within each cell
the draws are divided anew, independently of the other cells, and the statistics are summed.
"""

import numpy as np

from repro_gate.core.logprobs.error_rates import WHOLE_SAMPLES
from repro_gate.core.logprobs.verdicts import Evidence
from repro_gate.statistics.labelings import labelings
from repro_gate.statistics.two_samples import TwoSamples, contributions

_POOL = 20_000
"""Divisions of one cell to draw from; below it all of them."""
_TIE = 1e-9


class WholeSuite:
    """The test, fed with one cell after the other; memory does not grow with their number."""

    def __init__(self, *, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._observed = np.zeros(len(Evidence))
        self._sampled = np.zeros((WHOLE_SAMPLES, len(Evidence)))
        self.cells = 0
        """How many were added."""

    def add(self, samples: TwoSamples) -> None:
        """Add a cell: its calibration draws, and the same number of new ones for every cell."""
        self.cells += 1
        if samples.is_constant():
            # Every division gives the same.
            return
        ways = labelings(samples.calibration, samples.new, most=_POOL)
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
