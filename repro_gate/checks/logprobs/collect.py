"""Looks: the draws of one cell for one purpose, with outliers drawn again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from repro_gate.core.baselines import Baseline, Noise, far_draws, outliers
from repro_gate.core.draws import Draw, DrawOutcome, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprob_report import OutlierDraw
from repro_gate.core.logprob_verdicts import Invalid, Sameness
from repro_gate.core.policies import LogprobCell
from repro_gate.core.verdicts import Inconclusive
from repro_gate.ports import DrawLog, DrawRequest, Progress, Purpose, Scorer
from repro_gate.statistics.cells import Confirmed, band_of, repeated, sameness_of, token_shifts
from repro_gate.statistics.draws import as_array
from repro_gate.statistics.labelings import Floats


@dataclass(slots=True, kw_only=True)
class DrawSet:
    """The draws of one cell for one purpose, as far as they have been made."""

    cell: LogprobCell
    encoding: Encoding
    purpose: Purpose
    answers_as: str | None
    noise: Noise | None
    """What tells an outlier; None takes every draw as it is."""
    factor: float
    made: dict[int, Draw] = field(default_factory=dict[int, Draw])
    """Valid draws by their number."""
    asked: int = 0
    invalid: Invalid | None = None
    missed: Inconclusive | None = None

    @property
    def has_failed(self) -> bool:
        """Tell whether there will be no verdict by statistics."""
        return self.invalid is not None or self.missed is not None

    @property
    def draws(self) -> list[Draw]:
        """Every valid draw, in the order in which they were asked for."""
        return [self.made[number] for number in sorted(self.made)]

    @property
    def outlying(self) -> list[Draw]:
        """The draws that stand apart from the others."""
        places = self._outlying()
        return [draw for place, draw in enumerate(self.draws) if place in places]

    @property
    def strays(self) -> list[Draw]:
        """The draws that stand apart where most do: outliers, unless the cell has drifted."""
        if self.noise is None or self._outlying():
            return []
        draws = self.draws
        return [draws[place] for place in far_draws(draws, self.noise, factor=self.factor)]

    @property
    def usable(self) -> list[Draw]:
        """The draws that do not."""
        places = self._outlying()
        return [draw for place, draw in enumerate(self.draws) if place not in places]

    def requests(self, wanted: int) -> list[DrawRequest]:
        """Return what has to be drawn until `wanted` draws are usable, outliers replaced."""
        if self.has_failed:
            return []
        # At most twice as many: where half of the draws are far away, they are no outliers.
        lacking = max(0, wanted - len(self.usable))
        numbers = range(self.asked + 1, self.asked + 1 + lacking)
        self.asked = max(self.asked, numbers.stop - 1)
        return [
            DrawRequest(
                cell=self.cell,
                encoding=self.encoding,
                purpose=self.purpose,
                number=number,
                answers_as=self.answers_as,
            )
            for number in numbers
        ]

    def take(self, number: int, outcome: DrawOutcome) -> None:
        """Add what came of a request."""
        match outcome:
            case Draw():
                self.made[number] = outcome
            case InvalidDraw():
                count = self.invalid.count + 1 if self.invalid else 1
                first = self.invalid or Invalid(
                    reason=outcome.reason, position=outcome.position, count=1
                )
                self.invalid = Invalid(reason=first.reason, position=first.position, count=count)
            case MissedDraw():
                self.missed = self.missed or Inconclusive(
                    reason=outcome.reason, remedy=outcome.remedy
                )
            case _:
                assert_never(outcome)

    def _outlying(self) -> frozenset[int]:
        if self.noise is None:
            return frozenset()
        return frozenset(outliers(self.draws, self.noise, factor=self.factor))


@dataclass(slots=True, kw_only=True)
class DrawCollector:
    """Fills looks, and counts what that takes."""

    scorer: Scorer
    log: DrawLog
    progress: Progress
    calls: int = 0
    reused: int = 0
    tokens: int = 0
    priced: float = 0.0
    """Tokens times their price, in millionths of a dollar: providers of a suite may differ."""
    control_problems: dict[str, str] = field(default_factory=dict[str, str])
    """Why the last control of a policy that was tried is none, by the name of the policy."""

    def fill(self, wanted: Mapping[str, int], looks: Mapping[str, DrawSet]) -> None:
        """Draw until each look, by cell id, has as many usable draws as are wanted of it."""
        while requests := [
            request for name, count in wanted.items() for request in looks[name].requests(count)
        ]:
            self.draw(requests, lambda request, outcome: _take(looks, request, outcome))

    def draw(
        self, requests: list[DrawRequest], take: Callable[[DrawRequest, DrawOutcome], None]
    ) -> None:
        """Make the draws, but for those that an interrupted check has made already."""
        fresh: list[DrawRequest] = []
        for request in requests:
            known = self.log.known(request)
            if known is None:
                fresh.append(request)
            else:
                self.reused += 1
                take(request, known)
                self._tell(request, tokens=0)

        def seen(request: DrawRequest, outcome: DrawOutcome) -> None:
            self.log.note(request, outcome)
            tokens = len(request.encoding.prompt) + len(request.encoding.response)
            if not isinstance(outcome, MissedDraw):
                self.calls += 1
                self.tokens += tokens
                provider = request.cell.policy.provider
                self.priced += 0 if provider.is_local else tokens * provider.usd_per_million_tokens
            take(request, outcome)
            self._tell(request, tokens=tokens)

        if fresh:
            self.scorer.draw(fresh, seen=seen)

    def _tell(self, request: DrawRequest, *, tokens: int) -> None:
        # A control comes on top of what was planned.
        if request.purpose is not Purpose.CONTROL:
            self.progress.ran(request.cell, tokens=tokens)


def _take(looks: Mapping[str, DrawSet], request: DrawRequest, outcome: DrawOutcome) -> None:
    looks[request.cell.id].take(request.number, outcome)


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

    def note_problem(self, look: DrawSet) -> None:
        """Keep what makes a look worthless, as soon as it is known."""
        self.problem = self.problem or look.invalid or look.missed

    def take(self, look: DrawSet, baseline: Baseline, *, floor: float) -> Floats:
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


def _outlier(draw: Draw, look: DrawSet, baseline: Baseline) -> OutlierDraw:
    return OutlierDraw(
        total=draw.total,
        center=baseline.noise.center,
        bound=baseline.noise.outlier_bound(look.factor),
        tokens=token_shifts(as_array(baseline.draws), as_array([draw.logprobs]), baseline.encoding),
        request_id=draw.facts.request_id,
    )
