"""The engine processes of one engine of the matrix."""

from collections.abc import Callable

from repro_gate.core.cells import Cell
from repro_gate.core.models import EngineSpec, ModelSpec, another_file
from repro_gate.core.report import EngineReport
from repro_gate.errors import EngineFailed
from repro_gate.ports import Engine, EngineStarter, LoadedModel, ModelFile, TimedGeneration


class Bench:
    """One engine at work, replaced when it fails, and one that is kept fresh for the end.

    The fresh one is started early and asked nothing, so that its start costs no waiting.
    """

    def __init__(
        self, spec: EngineSpec, *, starter: EngineStarter, clock: Callable[[], float]
    ) -> None:
        self._spec = spec
        self._starter = starter
        self._clock = clock
        self._engine: Engine = starter.start(spec)
        self._fresh: Engine | None = None
        self._held: str | None = None
        self.load_s = 0.0
        """Seconds spent on waiting for engines and for models."""

    def describe(self) -> EngineReport:
        """Return what the engine says of itself; raises `MeasurementUnavailable`."""
        started = self._clock()
        try:
            return self._engine.describe()
        finally:
            self.load_s += self._clock() - started

    def start_fresh(self) -> None:
        """Start the process that `turn_fresh` will use."""
        self._fresh = self._starter.start(self._spec)

    def turn_fresh(self) -> None:
        """Go on with a process that has done nothing yet."""
        self._engine.close()
        self._held = None
        self._engine = self._fresh or self._starter.start(self._spec)
        self._fresh = None

    def load(self, model: ModelSpec, file: ModelFile) -> LoadedModel:
        """Load a model; raises `MeasurementUnavailable`."""
        started = self._clock()
        try:
            loaded = self._engine.load(model, file)
        except EngineFailed:
            self._restart()
            raise
        finally:
            self.load_s += self._clock() - started
        if file.sha256 is not None and file.sha256 != loaded.sha256:
            raise another_file(model, expected=file.sha256, found=loaded.sha256)
        self._held = model.name
        return loaded

    def generate(
        self, model: ModelSpec, file: ModelFile, cell: Cell, *, trace: bool
    ) -> TimedGeneration:
        """Run a cell once on its model; raises `MeasurementUnavailable`."""
        if self._held != model.name:
            self.load(model, file)
        try:
            return self._engine.generate(cell, trace=trace)
        except EngineFailed:
            self._restart()
            raise

    def close(self) -> None:
        """End every process."""
        self._engine.close()
        if self._fresh is not None:
            self._fresh.close()

    def _restart(self) -> None:
        self._engine.close()
        self._held = None
        self._engine = self._starter.start(self._spec)
