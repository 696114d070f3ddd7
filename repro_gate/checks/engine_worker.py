"""One engine of the matrix at work, for the token gate and the logprob gate alike."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from repro_gate.core.engines import EngineSpec, ModelSpec, another_file
from repro_gate.core.report import EngineReport, Note, NoteOrigin
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.golden import Facts
from repro_gate.errors import AFTER_FAILURES, EngineFailed, MeasurementUnavailable
from repro_gate.ports import (
    Engine,
    EngineStarter,
    LoadedModel,
    ModelFiles,
    Scored,
    ScoreRequest,
    TimedGeneration,
)

MAX_FAILURES_IN_A_ROW: Final = 3
"""After so many dead engines in a row the model is the cause, not the cell or the draw."""


class EngineWorker:
    """Runs one engine process at a time, with one model in it, and replaces it when it fails.

    Every method raises `MeasurementUnavailable`.
    """

    def __init__(
        self,
        spec: EngineSpec,
        *,
        starter: EngineStarter,
        files: ModelFiles,
        clock: Callable[[], float],
    ) -> None:
        self._spec = spec
        self._starter = starter
        self._files = files
        self._clock = clock
        self._engine: Engine | None = None
        self._fresh: Engine | None = None
        self._model: str | None = None
        """The model that is loaded now."""
        self._report: EngineReport | None = None
        self._known: dict[str, LoadedModel] = {}
        """Every model that was loaded at some time."""
        self._refused: dict[str, MeasurementUnavailable] = {}
        self._failures: Counter[str | None] = Counter()
        self.load_s = 0.0
        """Seconds spent waiting for engines and models."""

    def start(self) -> None:
        """Start the process now, so that its start overlaps with other work."""
        self._engine = self._engine or self._starter.start(self._spec)

    def describe(self) -> EngineReport:
        """Return what the engine is; it is asked only once."""
        if self._report is None:
            with self.attempt(None), self._loading() as engine:
                self._report = engine.describe()
        return self._report

    def load(self, model: ModelSpec) -> LoadedModel:
        """Load a model, unless it is loaded already."""
        if not self.has_loaded(model):
            refused = self._refused.get(model.name)
            # Asking again would only cost the time of another load.
            if refused is not None:
                raise MeasurementUnavailable(refused.reason, remedy=refused.remedy)
            try:
                self._load(model)
            except EngineFailed:
                raise
            except MeasurementUnavailable as error:
                self._refused[model.name] = error
                raise
        return self._known[model.name]

    def has_loaded(self, model: ModelSpec) -> bool:
        """Return whether a model is the loaded one."""
        return self._model == model.name

    def generate(self, model: ModelSpec, cell: Cell, *, trace: bool) -> TimedGeneration:
        """Run a cell once on its model."""
        self.load(model)
        with self._process() as engine:
            return engine.generate(cell, trace=trace)

    def score(self, request: ScoreRequest) -> Scored:
        """Score a response with the loaded model."""
        with self._process() as engine:
            return engine.score(request)

    @contextmanager
    def attempt(self, model: str | None) -> Generator[None]:
        """Guard one piece of work on a model; after too many failures in a row it is refused."""
        failures = self._failures[model]
        if failures == MAX_FAILURES_IN_A_ROW:
            raise MeasurementUnavailable(
                f"not tried: the engine failed {failures} times in a row", remedy=AFTER_FAILURES
            )
        try:
            yield
        except EngineFailed:
            self._failures[model] += 1
            raise
        self._failures[model] = 0

    def facts_of(self, model: ModelSpec) -> Facts:
        """Return the known provenance of everything that is measured with a model."""
        known = (part.facts for part in (self._report, self._known.get(model.name)) if part)
        return {name: value for facts in known for name, value in facts.items()}

    def notes(self) -> tuple[Note, ...]:
        """Return what the engine noted about the models that it loaded."""
        return tuple(
            Note(about=name, message=message, origin=NoteOrigin.ENGINE)
            for name, loaded in self._known.items()
            for message in loaded.notes
        )

    def start_fresh(self) -> None:
        """Start the process that `switch_to_fresh` will use, so that its start costs no time."""
        self._fresh = self._starter.start(self._spec)

    def switch_to_fresh(self) -> None:
        """Continue with a process that has done nothing yet, and with a clean record."""
        self._close_engine()
        self._engine, self._fresh = self._fresh, None
        self._refused.clear()
        self._failures.clear()

    def close(self) -> None:
        """End every process; safe to call more than once."""
        self._close_engine()
        fresh, self._fresh = self._fresh, None
        if fresh is not None:
            fresh.close()

    def _load(self, model: ModelSpec) -> None:
        file = self._files.locate(model)
        known = self._known.get(model.name)
        if known is not None:
            # A file replaced during the check would be another model by the same name.
            file = replace(file, sha256=known.sha256)
        with self._loading() as engine:
            self._model = None
            loaded = engine.load(model, file)
        if file.sha256 is not None and file.sha256 != loaded.sha256:
            if known is not None:
                raise MeasurementUnavailable(
                    f"the file of {model.name} was replaced during the check",
                    remedy="check again, and do not change the file during the check",
                )
            raise another_file(model, expected=file.sha256, found=loaded.sha256)
        self._known[model.name] = loaded
        self._model = model.name

    @contextmanager
    def _loading(self) -> Generator[Engine]:
        started = self._clock()
        try:
            with self._process() as engine:
                yield engine
        finally:
            self.load_s += self._clock() - started

    @contextmanager
    def _process(self) -> Generator[Engine]:
        """Yield the running engine, started if need be, and end it when it fails."""
        engine = self._engine = self._engine or self._starter.start(self._spec)
        try:
            yield engine
        except EngineFailed:
            self._close_engine()
            raise

    def _close_engine(self) -> None:
        engine, self._engine, self._model = self._engine, None, None
        if engine is not None:
            engine.close()
