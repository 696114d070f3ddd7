"""Collect draws: enough usable ones of each cell, with outliers drawn again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from repro_gate.core.logprobs.alternatives import on_all_tokens
from repro_gate.core.logprobs.baseline import Baseline, Noise, far_draws, outliers
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.logprobs.report import OutlierDraw
from repro_gate.core.logprobs.verdicts import Equivalence, Invalid
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.ports import DrawLog, DrawRequest, Progress, Purpose, Scorer
from repro_gate.statistics.cell import Confirmed, band_of, equivalence_of, repeated, token_shifts
from repro_gate.statistics.permutation import Floats, as_array
from repro_gate.statistics.sessions import floors_of


@dataclass(slots=True, kw_only=True)
class DrawSet:
    """The draws of one cell for one purpose, made so far."""

    cell: LogprobCell
    encoding: Encoding
    purpose: Purpose
    answers_as: str | None
    noise: Noise | None
    """Identifies outliers; None accepts every draw."""
    factor: float
    made: dict[int, Draw] = field(default_factory=dict[int, Draw])
    """Valid draws by their number."""
    asked: int = 0
    invalid: Invalid | None = None
    missed: Inconclusive | None = None

    @property
    def has_failed(self) -> bool:
        """Whether no statistical verdict is possible."""
        return self.invalid is not None or self.missed is not None

    @property
    def draws(self) -> list[Draw]:
        """The valid draws, in the order of their requests."""
        return [self.made[number] for number in sorted(self.made)]

    @property
    def outlying(self) -> list[Draw]:
        """The outliers."""
        places = self._outlying()
        return [draw for place, draw in enumerate(self.draws) if place in places]

    @property
    def strays(self) -> list[Draw]:
        """Distant draws where most are distant: outliers, unless the cell has drifted."""
        if self.noise is None or self._outlying():
            return []
        draws = self.draws
        return [draws[place] for place in far_draws(draws, self.noise, factor=self.factor)]

    @property
    def usable(self) -> list[Draw]:
        """The draws that are no outliers."""
        places = self._outlying()
        return [draw for place, draw in enumerate(self.draws) if place not in places]

    def requests(self, wanted: int) -> list[DrawRequest]:
        """Return what to draw so that `wanted` draws are usable; outliers are replaced."""
        if self.has_failed:
            return []
        # At most twice as many: when half of the draws are distant, they are no outliers.
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
        """Add the outcome of a request."""
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
    """Fills draw sets, and counts calls, tokens and cost."""

    scorer: Scorer
    log: DrawLog
    progress: Progress
    calls: int = 0
    reused: int = 0
    tokens: int = 0
    priced: float = 0.0
    """Tokens times price, in millionths of a dollar; the providers of a suite may differ."""
    control_problems: dict[str, str] = field(default_factory=dict[str, str])
    """Why the last attempt at a control failed, by the name of the policy."""

    def fill(self, wanted: Mapping[str, int], looks: Mapping[str, DrawSet]) -> None:
        """Draw until each set, by cell id, has as many usable draws as wanted."""
        while requests := [
            request for name, count in wanted.items() for request in looks[name].requests(count)
        ]:
            self.draw(requests, lambda request, outcome: _take(looks, request, outcome))

    def draw(
        self, requests: list[DrawRequest], take: Callable[[DrawRequest, DrawOutcome], None]
    ) -> None:
        """Make the draws, except those already in the log of an interrupted check."""
        fresh: list[DrawRequest] = []
        for request in requests:
            known = self.log.known(request)
            if known is None:
                fresh.append(request)
            else:
                self.reused += 1
                take(request, known)
                if request.purpose is not Purpose.CONTROL:
                    self.progress.skipped(request.cell, runs=1)

        def seen(request: DrawRequest, outcome: DrawOutcome) -> None:
            self.log.note(request, outcome)
            counted = None if isinstance(outcome, MissedDraw) else outcome.facts.prompt_tokens
            tokens = request.cell.tokens(request.encoding, counted=counted)
            if not isinstance(outcome, MissedDraw):
                self.calls += 1
                self.tokens += tokens
                provider = request.cell.policy.provider
                self.priced += 0 if provider.is_local else tokens * provider.usd_per_million_tokens
            take(request, outcome)
            self._report(request, tokens=tokens)

        if fresh:
            self.scorer.draw(fresh, seen=seen)

    def _report(self, request: DrawRequest, *, tokens: int) -> None:
        # Controls are not part of the planned draws.
        if request.purpose is not Purpose.CONTROL:
            self.progress.ran(request.cell, tokens=tokens)


def _take(looks: Mapping[str, DrawSet], request: DrawRequest, outcome: DrawOutcome) -> None:
    looks[request.cell.id].take(request.number, outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """The draws of a cell beside its calibration draws: draws x tokens, in nats."""

    calibration: Floats
    looks: tuple[Floats, ...]
    """The draws of each look."""
    encoding: Encoding
    """The tokens of the columns."""


def vectors_of(cell: LogprobCell, baseline: Baseline, *looks: Sequence[Draw]) -> Vectors:
    """Return the draws of a cell on the same tokens."""
    if not cell.policy.by_distance:
        return Vectors(
            calibration=as_array(baseline.draws),
            looks=tuple(as_array([draw.logprobs for draw in look]) for look in looks),
            encoding=baseline.encoding,
        )
    tokens, (recorded, *drawn) = on_all_tokens(baseline.encoding.response, baseline.made, *looks)
    return Vectors(
        calibration=as_array(recorded),
        looks=tuple(map(as_array, drawn)),
        encoding=replace(baseline.encoding, response=tokens, logprobs=None),
    )


@dataclass(slots=True, kw_only=True)
class Comparison:
    """The comparison of one cell: a few numbers, and its draws only while they are needed."""

    cell: LogprobCell
    source: str
    center: float
    calibration_totals: tuple[float, ...]
    totals: list[float] = field(default_factory=list[float])
    outliers: list[OutlierDraw] = field(default_factory=list[OutlierDraw])
    strays: list[OutlierDraw] = field(default_factory=list[OutlierDraw])
    """Distant draws among `totals`; see `exclude_strays`."""
    made: int = 0
    """Valid draws, outliers among them."""
    repeats: int = 0
    """How many of `totals` exactly repeat a calibration draw."""
    stray_repeats: int = 0
    """How many of `strays` do."""
    band: float = 0.0
    equivalence: Equivalence = Equivalence.NOT_SHOWN
    """Of all `totals`, as is the band."""
    saved: int = 0
    """Draws of the first look that were skipped because they could not change the result."""
    problem: Invalid | Inconclusive | None = None
    is_decided: bool = False
    baseline: Baseline | None = None
    """Kept only for a suspicious cell."""
    first: Sequence[Draw] = ()
    """The draws of its first look; also only for a suspicious cell."""
    new: Sequence[Draw] = ()
    """The draws of both looks of a cell whose suspicion was confirmed."""
    confirmed: Confirmed | None = None

    def note_problem(self, look: DrawSet) -> None:
        """Keep the first invalid or missing draw as the problem of the cell."""
        self.problem = self.problem or look.invalid or look.missed

    def take(self, look: DrawSet, baseline: Baseline, *, floor: float) -> Sequence[Draw]:
        """Add the draws of a set, and return the usable ones."""
        usable = look.usable
        self.made += len(look.draws)
        for draw in look.outlying:
            self.outliers.append(_outlier(draw, look, baseline))
        if strays := look.strays:
            self.strays += [_outlier(draw, look, baseline) for draw in strays]
            self.stray_repeats += _repeats(self.cell, baseline, strays)
        if usable:
            self.totals += [draw.total for draw in usable]
            self.repeats += _repeats(self.cell, baseline, usable)
            calibration = as_array(baseline.draws)
            floors = floors_of(calibration, baseline.sizes, floor=floor)
            self.band = band_of(calibration, len(self.totals), floor=floors)
            self.equivalence = equivalence_of(
                self.calibration_totals, self.totals, repeats=self.repeats, floor=floor
            )
        return usable

    def exclude_strays(self, *, floor: float) -> None:
        """Count distant draws as outliers, once drift of the cell is ruled out."""
        for stray in self.strays:
            self.totals.remove(stray.total)
        self.outliers += self.strays
        self.repeats -= self.stray_repeats
        if self.strays and self.totals:
            self.equivalence = equivalence_of(
                self.calibration_totals, self.totals, repeats=self.repeats, floor=floor
            )
        self.strays, self.stray_repeats = [], 0


def _repeats(cell: LogprobCell, baseline: Baseline, draws: Sequence[Draw]) -> int:
    """Return how many draws exactly repeat a calibration draw."""
    vectors = vectors_of(cell, baseline, draws)
    return repeated(vectors.calibration, *vectors.looks)


def _outlier(draw: Draw, look: DrawSet, baseline: Baseline) -> OutlierDraw:
    return OutlierDraw(
        total=draw.total,
        center=baseline.noise.center,
        bound=baseline.noise.outlier_bound(look.factor),
        tokens=token_shifts(as_array(baseline.draws), as_array([draw.logprobs]), baseline.encoding),
        request_id=draw.facts.request_id,
    )
