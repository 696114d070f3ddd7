"""The outside world as the use cases need it: one small protocol for each neighbour."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from repro_gate.core.cells import Cell
from repro_gate.core.goldens import Facts, Golden
from repro_gate.core.matrix import EngineSpec, ModelSpec
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file that is there and may be loaded."""

    path: Path
    sha256: str | None
    """What the file must be; None while nothing pins it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What an engine says of the model that it holds."""

    sha256: str
    facts: Facts
    """The model and every effective setting, as flat provenance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedGeneration:
    """One generation, and the seconds that the engine spent on decoding and sampling."""

    generation: Generation
    engine_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.engine_s) and self.engine_s >= 0):
            raise ValueError(f"seconds must be finite and at least 0, got {self.engine_s}")


class Engine(Protocol):
    """One running engine process.

    Every method raises `MeasurementUnavailable` when the engine refuses, and `EngineFailed`
    when it died, hung or broke the protocol; after that only `close` may be called.
    """

    def describe(self) -> EngineReport:
        """Return what the engine is and the profile that its results belong to."""
        ...

    def load(self, model: ModelSpec, file: ModelFile) -> LoadedModel:
        """Load a model in place of the one before it."""
        ...

    def generate(self, cell: Cell, *, trace: bool) -> TimedGeneration:
        """Run the cell once, cold, on the loaded model."""
        ...

    def close(self) -> None:
        """End the process; safe to call at any time, and more than once."""
        ...


class EngineStarter(Protocol):
    """Something that starts engine processes."""

    def start(self, spec: EngineSpec) -> Engine:
        """Start a fresh process without waiting for it; a failure shows at the first request."""
        ...


class ModelFiles(Protocol):
    """Where the model files are."""

    def locate(self, model: ModelSpec) -> ModelFile:
        """Return the file, or raise `MeasurementUnavailable` with the command that gets it."""
        ...


class GoldenReader(Protocol):
    """The committed goldens, profile by profile."""

    def recorded(self, profile: str) -> frozenset[str]:
        """Return the ids of the cells that have a golden under this very profile."""
        ...

    def read(self, profile: str, cell_id: str) -> Golden:
        """Return a recorded golden, or raise `InputInvalid`."""
        ...

    def profiles(self) -> frozenset[str]:
        """Return the profiles that have any golden."""
        ...


class GoldenStore(GoldenReader, Protocol):
    """The committed goldens, to be changed."""

    def write(self, golden: Golden) -> None:
        """Write a golden; afterwards the file is the old one or the new one, never a part."""
        ...

    def remove(self, profile: str, cell_id: str) -> None:
        """Remove a golden."""
        ...


class ModelPins(Protocol):
    """The digests that the first recording pinned."""

    def pinned(self) -> Mapping[str, str]:
        """Return the sha256 of each pinned model by name, or raise `InputInvalid`."""
        ...

    def pin(self, digests: Mapping[str, str]) -> None:
        """Add pins; none is ever replaced."""
        ...


class Progress(Protocol):
    """Someone who watches a measurement."""

    def started(self, *, cells: int, runs: int) -> None:
        """Tell how much there is to do."""
        ...

    def ran(self, cell: Cell, *, tokens: int) -> None:
        """Tell that one run of a cell is finished."""
        ...

    def skipped(self, cell: Cell, *, runs: int) -> None:
        """Tell that the remaining runs of a cell will not happen."""
        ...
