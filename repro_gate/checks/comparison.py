"""What is known of one cell while its log-probabilities are being compared."""

from dataclasses import dataclass, field

from repro_gate.checks.looks import Look
from repro_gate.core.baselines import Baseline
from repro_gate.core.draws import Draw
from repro_gate.core.logprob_report import OutlierDraw
from repro_gate.core.logprob_verdicts import Invalid, Sameness
from repro_gate.core.policies import LogprobCell
from repro_gate.core.verdicts import Inconclusive
from repro_gate.statistics.cells import Confirmed, band_of, repeated, sameness_of, token_shifts
from repro_gate.statistics.draws import as_array
from repro_gate.statistics.labelings import Floats


@dataclass(slots=True, kw_only=True)
class Comparison:
    """One cell: the few numbers that are kept of it, and its draws only while they are needed."""

    cell: LogprobCell
    source: str
    center: float
    calibration_totals: tuple[float, ...]
    totals: list[float] = field(default_factory=list[float])
    outliers: list[OutlierDraw] = field(default_factory=list[OutlierDraw])
    strays: list[OutlierDraw] = field(default_factory=list[OutlierDraw])
    """Among `totals`: draws as far away, of looks of which most were; see `settle`."""
    made: int = 0
    """Valid draws, outliers among them."""
    repeats: int = 0
    """How many of `totals` repeat a calibration draw to the last digit."""
    band: float = 0.0
    sameness: Sameness = Sameness.NOT_SHOWN
    """Both of all `totals`, whichever look they are of."""
    saved: int = 0
    """Draws of the first look that were not made, because they could not have mattered."""
    problem: Invalid | Inconclusive | None = None
    is_decided: bool = False
    baseline: Baseline | None = None
    """Kept of a suspicious cell alone."""
    first: Floats | None = None
    """The same: the draws of its first look."""
    new: Floats | None = None
    """The draws of both looks of a cell whose suspicion was confirmed."""
    confirmed: Confirmed | None = None

    def note_problem(self, look: Look) -> None:
        """Keep what makes a look worthless, as soon as it is known."""
        self.problem = self.problem or look.invalid or look.missed

    def take(self, look: Look, baseline: Baseline, *, floor: float) -> Floats:
        """Add the draws of a look, and return them: draws x tokens, in nats."""
        calibration = as_array(baseline.draws)
        self.made += len(look.draws)
        for draw in look.outlying:
            self.outliers.append(_outlier(draw, look, baseline))
        self.strays += [_outlier(draw, look, baseline) for draw in look.strays]
        new = as_array([draw.logprobs for draw in look.usable])
        if len(new):
            self.totals += [draw.total for draw in look.usable]
            self.repeats += repeated(calibration, new)
            self.band = band_of(calibration, len(self.totals), floor=floor)
            self.sameness = sameness_of(
                self.calibration_totals, self.totals, repeats=self.repeats, floor=floor
            )
        return new

    def settle(self, *, floor: float) -> None:
        """Count draws that stand apart as outliers, once it is known that the cell has no drift.

        Most draws of a look were far away, and that was not confirmed as drift: then they are no
        part of what agrees.
        """
        for stray in self.strays:
            self.totals.remove(stray.total)
        self.outliers += self.strays
        if self.strays and self.totals:
            self.sameness = sameness_of(
                self.calibration_totals, self.totals, repeats=self.repeats, floor=floor
            )
        self.strays = []


def _outlier(draw: Draw, look: Look, baseline: Baseline) -> OutlierDraw:
    return OutlierDraw(
        total=draw.total,
        center=baseline.noise.center,
        bound=baseline.noise.outlier_bound(look.factor),
        tokens=token_shifts(as_array(baseline.draws), as_array([draw.logprobs]), baseline.encoding),
        request_id=draw.facts.request_id,
    )
