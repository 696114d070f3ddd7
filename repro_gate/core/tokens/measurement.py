"""What has been measured of a plan: enough to judge it, here or after it has been put together."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from repro_gate.core.report import EngineReport, Note, Timing
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.controls import Control
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import Facts
from repro_gate.core.tokens.judge import Repetition
from repro_gate.core.tokens.verdicts import Inconclusive

MAX_NOTES = 100
"""Further notes are dropped: an engine may not fill a report with them."""


@dataclass(slots=True, kw_only=True)
class Measurement:
    """What has been seen so far; it can be read at any time, also after an interruption."""

    engines: list[EngineReport] = field(default_factory=list[EngineReport])
    """Of one name there are several where machines of one profile told different facts."""
    facts: dict[Cell, Facts] = field(default_factory=dict[Cell, Facts])
    """The provenance of each cell that was to be run, of the very machine that was to run it."""
    models: dict[str, Facts] = field(default_factory=dict[str, Facts])
    repetitions: dict[Cell, Repetition] = field(default_factory=dict[Cell, Repetition])
    problems: dict[Cell, Inconclusive] = field(default_factory=dict[Cell, Inconclusive])
    controls: list[Control] = field(default_factory=list[Control])
    """One for each model and factor, from each machine or device that held the model."""
    notes: list[Note] = field(default_factory=list[Note])
    engine_s: float = 0.0
    load_s: float = 0.0
    generated_tokens: int = 0
    interrupted: bool = False
    stopped_at: Cell | None = None
    """The cell whose finding ended the check early, where that was asked for."""

    @property
    def observed(self) -> dict[Cell, Generation]:
        """The first run of each cell that was run."""
        return {cell: done.first for cell, done in self.repetitions.items()}

    @property
    def profiles(self) -> dict[str, str]:
        """The profile of each engine that could say what it is, by name."""
        return {engine.name: engine.profile for engine in self.engines}

    def provenances(self, cells: Iterable[Cell]) -> tuple[Facts, ...]:
        """Return the provenances of those cells that were run, each once."""
        found: list[Facts] = []
        for cell in cells:
            if cell in self.repetitions and self.facts[cell] not in found:
                found.append(self.facts[cell])
        return tuple(found)

    def add_notes(self, notes: Iterable[Note]) -> None:
        """Keep notes, each once."""
        for note in notes:
            if note not in self.notes and len(self.notes) < MAX_NOTES:
                self.notes.append(note)

    def timing(self, *, wall_s: float) -> Timing:
        """Return where the time went."""
        return Timing(
            wall_s=wall_s,
            load_s=self.load_s,
            engine_s=self.engine_s,
            generated_tokens=self.generated_tokens,
        )


def joined(parts: Iterable[Measurement]) -> Measurement:
    """Return what several engines saw of different cells as if one had seen it all."""
    whole = Measurement()
    for part in parts:
        whole.engines += [engine for engine in part.engines if engine not in whole.engines]
        # Where two held the same model, the first speaks for both: it is the same file.
        for name, facts in part.models.items():
            whole.models.setdefault(name, facts)
        whole.facts |= part.facts
        whole.repetitions |= part.repetitions
        whole.problems |= part.problems
        whole.controls += part.controls
        whole.add_notes(part.notes)
        whole.engine_s += part.engine_s
        whole.load_s += part.load_s
        whole.generated_tokens += part.generated_tokens
        whole.interrupted |= part.interrupted
    return whole
