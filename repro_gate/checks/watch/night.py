"""Draw one night of a watch: a fixed number of valid draws of each cell, outliers among them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from repro_gate.checks.logprobs.collect import DrawCollector
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.ports import DrawRequest, Purpose

_REMEDY = "look at the answers in the history, and wait for the next night"
_NOT_ASKED = MissedDraw(reason="not asked", remedy=_REMEDY)
_MAX_FACTOR = 2
"""A cell is asked at most this many times the wanted draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NightCell:
    """A watched cell, and what its answers have to be about."""

    cell: LogprobCell
    encoding: Encoding
    answers_as: str


def draw_night(
    cells: Sequence[NightCell], *, draws: int, collector: DrawCollector
) -> Mapping[str, Inconclusive]:
    """Draw until each cell has its draws; return why some have too few, by the id of the cell.

    Nothing is stopped early or left out for its value. A draw that is invalid or missing is asked
    again, up to a bound, and not at all once a round of requests has measured nothing.
    An interruption is raised; the draws are in the log by then.
    """
    tallies = {each.cell.id: _Tally(target=each, wanted=draws) for each in cells}

    def take(request: DrawRequest, outcome: DrawOutcome) -> None:
        tallies[request.cell.id].take(request, outcome)

    collector.progress.started((each.cell, draws) for each in cells)
    collector.draw(
        [known for tally in tallies.values() for known in _logged(tally, collector)], take
    )
    while requests := [request for tally in tallies.values() for request in tally.requests()]:
        before = _measured(tallies.values())
        collector.draw(requests, take)
        if _measured(tallies.values()) == before:
            break
    return {name: tally.shortfall() for name, tally in tallies.items() if tally.lacking}


def _measured(tallies: Iterable["_Tally"]) -> int:
    return sum(tally.measured for tally in tallies)


def _logged(tally: "_Tally", collector: DrawCollector) -> Iterator[DrawRequest]:
    """Yield the requests whose outcome the log of an interrupted night has."""
    for number in range(1, tally.limit + 1):
        request = tally.request(number)
        if collector.log.known(request) is not None:
            yield request


@dataclass(slots=True, kw_only=True)
class _Tally:
    """The outcomes of one cell so far."""

    target: NightCell
    wanted: int
    valid: int = 0
    invalid: int = 0
    asked: set[int] = field(default_factory=set[int])
    problem: InvalidDraw | MissedDraw = _NOT_ASKED
    """The last one."""

    @property
    def limit(self) -> int:
        """The most requests."""
        return _MAX_FACTOR * self.wanted

    @property
    def lacking(self) -> int:
        """How many valid draws are still to be made."""
        return max(0, self.wanted - self.valid)

    @property
    def measured(self) -> int:
        """How many requests were answered, well or not."""
        return self.valid + self.invalid

    def requests(self) -> list[DrawRequest]:
        """Return what to ask for what is lacking, within the bound."""
        unasked = [number for number in range(1, self.limit + 1) if number not in self.asked]
        return [self.request(number) for number in unasked[: self.lacking]]

    def request(self, number: int) -> DrawRequest:
        """Return the request for a draw."""
        return DrawRequest(
            cell=self.target.cell,
            encoding=self.target.encoding,
            purpose=Purpose.WATCH,
            number=number,
            answers_as=self.target.answers_as,
        )

    def take(self, asked: DrawRequest, outcome: DrawOutcome) -> None:
        """Count the outcome of a request."""
        self.asked.add(asked.number)
        if isinstance(outcome, Draw):
            self.valid += 1
            return
        self.invalid += isinstance(outcome, InvalidDraw)
        self.problem = outcome

    def shortfall(self) -> Inconclusive:
        """Return why the cell has too few draws."""
        remedy = self.problem.remedy if isinstance(self.problem, MissedDraw) else None
        return Inconclusive(
            reason=f"{self.valid} of {self.wanted} draws: {self.problem.reason}",
            remedy=remedy or _REMEDY,
        )
