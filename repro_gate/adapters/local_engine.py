"""An engine of the matrix at work on scores."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

from repro_gate.core.goldens import Facts
from repro_gate.core.models import EngineSpec, ModelSpec, another_file
from repro_gate.core.report import EngineReport, Note, NoteOrigin
from repro_gate.errors import AFTER_FAILURES, EngineFailed, MeasurementUnavailable
from repro_gate.ports import (
    Engine,
    EngineStarter,
    LoadedModel,
    ModelFile,
    ModelFiles,
    Scored,
    ScoreRequest,
)

_FAILURES_IN_A_ROW = 3
"""After so many dead engines in a row the model is the cause, not the draw."""


class LocalEngine:
    """One process of an engine at a time, replaced when it fails, with one model in it."""

    def __init__(self, spec: EngineSpec, *, starter: EngineStarter, files: ModelFiles) -> None:
        self._spec = spec
        self._starter = starter
        self._files = files
        self._process: Engine | None = None
        self._held: str | None = None
        self._report: EngineReport | None = None
        self._loaded: dict[str, LoadedModel] = {}
        self._refused: dict[str, MeasurementUnavailable] = {}
        self._failures: Counter[str | None] = Counter()

    def describe(self) -> EngineReport:
        """Return what the engine is; it is asked once. Raises `MeasurementUnavailable`."""
        if self._report is None:
            with self._at_work(None) as process:
                self._report = process.describe()
        return self._report

    def facts_of(self, model: ModelSpec) -> Facts:
        """Return the provenance of everything scored with a model, as far as it is known."""
        loaded = self._loaded.get(model.name)
        known = (part.facts for part in (self._report, loaded) if part is not None)
        return {name: value for facts in known for name, value in facts.items()}

    def notes(self) -> tuple[Note, ...]:
        """Return what the engine noticed about the models that it loaded."""
        return tuple(
            Note(about=name, message=message, origin=NoteOrigin.ENGINE)
            for name, loaded in self._loaded.items()
            for message in loaded.notes
        )

    def holds(self, model: ModelSpec) -> bool:
        """Tell whether a model is the loaded one."""
        return self._held == model.name

    def hold(self, model: ModelSpec) -> None:
        """Load a model unless it is the loaded one; raises `MeasurementUnavailable`."""
        if self.holds(model):
            return
        refused = self._refused.get(model.name)
        # Asked again, it would only take the time of a load to say the same.
        if refused is not None:
            raise MeasurementUnavailable(refused.reason, remedy=refused.remedy)
        try:
            self._load(model, self._expected(model))
        except EngineFailed:
            raise
        except MeasurementUnavailable as error:
            self._refused[model.name] = error
            raise

    def score(self, asked: ScoreRequest) -> Scored:
        """Score a response with the loaded model; raises `MeasurementUnavailable`."""
        model = self._held
        with self._at_work(model) as process:
            scored = process.score(asked)
        self._failures[model] = 0
        return scored

    def close(self) -> None:
        """End the process."""
        process, self._process, self._held = self._process, None, None
        if process is not None:
            process.close()

    def _expected(self, model: ModelSpec) -> ModelFile:
        file = self._files.locate(model)
        known = self._loaded.get(model.name)
        # A file that is replaced while we measure would be another model by the same name.
        return file if known is None else replace(file, sha256=known.sha256)

    def _load(self, model: ModelSpec, file: ModelFile) -> None:
        with self._at_work(model.name) as process:
            self._held = None
            loaded = process.load(model, file)
        if file.sha256 is not None and file.sha256 != loaded.sha256:
            if model.name in self._loaded:
                raise MeasurementUnavailable(
                    f"the file of {model.name} was replaced during the check",
                    remedy="check again, and leave the file as it is meanwhile",
                )
            raise another_file(model, expected=file.sha256, found=loaded.sha256)
        self._loaded[model.name] = loaded
        self._held = model.name

    @contextmanager
    def _at_work(self, model: str | None) -> Generator[Engine]:
        """Give a running process; one that fails is ended, and the failure counted."""
        failures = self._failures[model]
        if failures == _FAILURES_IN_A_ROW:
            raise MeasurementUnavailable(
                f"not tried: the engine failed {failures} times in a row", remedy=AFTER_FAILURES
            )
        if self._process is None:
            self._process = self._starter.start(self._spec)
        try:
            yield self._process
        except EngineFailed:
            self._failures[model] += 1
            self.close()
            raise
