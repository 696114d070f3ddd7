"""The measurements of a plan before they are judged, here or after merging shards."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from repro_gate.core.report import EngineReport, Note, Timing
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.controls import Control
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import Facts
from repro_gate.core.tokens.judge import Repetition
from repro_gate.core.tokens.modes import Mode, ModeResult
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.tokens.verification import Verification

MAX_NOTES = 100
"""Further notes are dropped, so that an engine cannot flood a report."""


@dataclass(slots=True, kw_only=True)
class Measurement:
    """The measurements so far; consistent at any time, also after an interruption."""

    engines: list[EngineReport] = field(default_factory=list[EngineReport])
    """Several of one name where machines of one profile reported different facts."""
    facts: dict[Cell, Facts] = field(default_factory=dict[Cell, Facts])
    """The provenance of each started cell, from the machine that runs it."""
    models: dict[str, Facts] = field(default_factory=dict[str, Facts])
    repetitions: dict[Cell, Repetition] = field(default_factory=dict[Cell, Repetition])
    problems: dict[Cell, Inconclusive] = field(default_factory=dict[Cell, Inconclusive])
    verifications: dict[Cell, Verification] = field(default_factory=dict[Cell, Verification])
    """Of the tokens that differ, for each cell where they do and the engine could verify them."""
    modes: dict[Cell, dict[Mode, ModeResult]] = field(
        default_factory=dict[Cell, dict[Mode, ModeResult]]
    )
    """The results of each cell in the modes that were begun."""
    controls: list[Control] = field(default_factory=list[Control])
    """One for each model and factor, from each machine or device that held the model."""
    notes: list[Note] = field(default_factory=list[Note])
    engine_s: float = 0.0
    load_s: float = 0.0
    generated_tokens: int = 0
    interrupted: bool = False
    stopped_at: Cell | None = None
    """The cell whose finding ended the check under `--fail-fast`."""

    @property
    def observed(self) -> dict[Cell, Generation]:
        """The first run of each cell that was run."""
        return {cell: done.first for cell, done in self.repetitions.items()}

    @property
    def profiles(self) -> dict[str, str]:
        """The profile of each engine that reported one, by name."""
        return {engine.name: engine.profile for engine in self.engines}

    def modes_of(self, cell: Cell) -> tuple[ModeResult, ...]:
        """Return the results of a cell in the modes that were begun."""
        return tuple(self.modes.get(cell, {}).values())

    def provenances(self, cells: Iterable[Cell]) -> tuple[Facts, ...]:
        """Return the provenances of those cells that were run, each once."""
        found: list[Facts] = []
        for cell in cells:
            if cell in self.repetitions and self.facts[cell] not in found:
                found.append(self.facts[cell])
        return tuple(found)

    def add_notes(self, notes: Iterable[Note]) -> None:
        """Add notes that are new."""
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
    """Merge the measurements of several engines."""
    whole = Measurement()
    for part in parts:
        whole.engines += [engine for engine in part.engines if engine not in whole.engines]
        # Two engines with the same model loaded the same file, so the first is enough.
        for name, facts in part.models.items():
            whole.models.setdefault(name, facts)
        whole.facts |= part.facts
        whole.repetitions |= part.repetitions
        whole.problems |= part.problems
        whole.verifications |= part.verifications
        whole.modes |= part.modes
        whole.controls += part.controls
        whole.add_notes(part.notes)
        whole.engine_s += part.engine_s
        whole.load_s += part.load_s
        whole.generated_tokens += part.generated_tokens
        whole.interrupted |= part.interrupted
    return whole
