"""Looks: the draws of one cell for one purpose, with outliers drawn again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from repro_gate.core.baselines import Noise, far_draws, outliers
from repro_gate.core.draws import Draw, DrawOutcome, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprob_verdicts import Invalid
from repro_gate.core.policies import LogprobCell
from repro_gate.core.verdicts import Inconclusive
from repro_gate.ports import DrawLog, DrawRequest, Progress, Purpose, Scorer


@dataclass(slots=True, kw_only=True)
class Look:
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
class Drawer:
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

    def fill(self, wanted: Mapping[str, int], looks: Mapping[str, Look]) -> None:
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


def _take(looks: Mapping[str, Look], request: DrawRequest, outcome: DrawOutcome) -> None:
    looks[request.cell.id].take(request.number, outcome)
