"""Log-probabilities from wherever a policy's provider is: an API, or an engine on this machine."""

from collections.abc import Sequence

from repro_gate.core.alignment import ScoredTwice
from repro_gate.core.draws import Encoding, InvalidDraw, MissedDraw
from repro_gate.core.goldens import Facts
from repro_gate.core.policies import LogprobCell, Policy
from repro_gate.core.report import Note
from repro_gate.ports import DrawRequest, Scorer, Seen


class ScorersByProvider:
    """Passes each request on to the scorer of its provider."""

    def __init__(self, *, hosted: Scorer, local: Scorer) -> None:
        self._hosted = hosted
        self._local = local

    def source(self, policy: Policy) -> str:
        """Return the name under which the policy's baselines hold."""
        return self._of(policy).source(policy)

    def facts(self, policy: Policy) -> Facts:
        """Return the provenance of the policy's draws."""
        return self._of(policy).facts(policy)

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed so far."""
        return (*self._local.notes(), *self._hosted.notes())

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[Encoding | InvalidDraw | MissedDraw]:
        """Return each cell's prompt and response as the tokens of its model, in order."""
        found: dict[int, Encoding | InvalidDraw | MissedDraw] = {}
        for scorer in (self._local, self._hosted):
            places = [place for place, cell in enumerate(cells) if self._of(cell.policy) is scorer]
            if places:
                encoded = scorer.encode([cells[place] for place in places])
                found |= dict(zip(places, encoded, strict=True))
        return [found[place] for place in range(len(cells))]

    def score_twice(self, cell: LogprobCell, encoding: Encoding) -> ScoredTwice | MissedDraw | None:
        """Return what the scorer of the cell's provider does."""
        return self._of(cell.policy).score_twice(cell, encoding)

    def draw(self, requests: Sequence[DrawRequest], *, seen: Seen) -> None:
        """Make the draws, those on this machine first: they cost nothing."""
        for scorer in (self._local, self._hosted):
            some = [request for request in requests if self._of(request.cell.policy) is scorer]
            if some:
                scorer.draw(some, seen=seen)

    def close(self) -> None:
        """Let go of connections and processes."""
        self._hosted.close()
        self._local.close()

    def _of(self, policy: Policy) -> Scorer:
        return self._local if policy.provider.is_local else self._hosted
