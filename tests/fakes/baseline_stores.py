"""Baselines and draws that are kept in memory."""

from dataclasses import dataclass, field

from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.draw import DrawOutcome
from repro_gate.errors import InputInvalid
from repro_gate.ports import DrawRequest
from tests.fakes.scoring import DrawKey


@dataclass(slots=True, kw_only=True)
class MemoryBaselines:
    """Baselines that are kept in memory; some of them may be broken."""

    kept: dict[tuple[str, str], Baseline] = field(default_factory=dict[tuple[str, str], Baseline])
    broken: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    reads: int = 0

    def recorded(self, source: str) -> frozenset[str]:
        """Return the ids of the cells that have a baseline."""
        return frozenset(name for kept, name in (*self.kept, *self.broken) if kept == source)

    def read(self, source: str, cell_id: str) -> Baseline:
        """Return a baseline."""
        self.reads += 1
        if (source, cell_id) in self.broken:
            raise InputInvalid(f"{source}/{cell_id}.json: expected JSON, found a tear")
        return self.kept[source, cell_id]

    def write(self, baseline: Baseline) -> None:
        """Keep a baseline."""
        self.broken.discard((baseline.source, baseline.id))
        self.kept[baseline.source, baseline.id] = baseline

    def remove(self, source: str, cell_id: str) -> None:
        """Forget a baseline."""
        self.broken.discard((source, cell_id))
        self.kept.pop((source, cell_id), None)


@dataclass(slots=True, kw_only=True)
class MemoryDrawLog:
    """A log that is kept in memory."""

    kept: dict[DrawKey, DrawOutcome] = field(default_factory=dict[DrawKey, DrawOutcome])
    """What an interrupted check had drawn."""
    noted: dict[DrawKey, DrawOutcome] = field(default_factory=dict[DrawKey, DrawOutcome])
    """What this check has drawn."""

    def note(self, request: DrawRequest, outcome: DrawOutcome) -> None:
        """Keep a draw."""
        self.noted[request.key] = outcome

    def known(self, request: DrawRequest) -> DrawOutcome | None:
        """Return a draw of the interrupted check."""
        return self.kept.get(request.key)
