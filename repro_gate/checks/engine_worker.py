"""One engine of the matrix at work, for the token gate and the logprob gate alike."""

from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Generic, TypeVar

from repro_gate.core.engines import Ability, EngineSpec, ModelSpec, another_file
from repro_gate.core.report import EngineReport, Note, NoteOrigin
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.golden import Facts
from repro_gate.errors import AFTER_FAILURES, EngineFailed, MeasurementUnavailable
from repro_gate.ports import (
    CellRun,
    Engine,
    EngineStarter,
    LoadedModel,
    ModelFile,
    ModelFiles,
    Outcome,
    Scored,
    ScoreRequest,
    TimedGeneration,
    Verified,
    VerifyRequest,
)

MAX_FAILURES_IN_A_ROW: Final = 3
"""After so many dead engines in a row the model is the cause, not the cell or the draw."""

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed(Generic[R, T]):
    """One of many requests, and its outcome."""

    request: R
    outcome: Outcome[T]
    latency_s: float = 0.0
    """From when it was sent to when its outcome was delivered; 0 when it was not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work(Generic[R, T]):
    """Requests of one kind to one model."""

    model: ModelSpec
    ask: Callable[[Engine, Iterable[R]], Generator[Outcome[T]]]
    piece_of: Callable[[R], Hashable]
    """What is given up when one of its requests fails."""
    is_wanted: Callable[[R], bool]
    """Whether a request is still to be made."""


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
        self._ending: Engine | None = None
        """A process that ends while the fresh one works."""
        self._model: str | None = None
        """The model that is loaded now."""
        self._report: EngineReport | None = None
        self._known: dict[str, LoadedModel] = {}
        """Every model that was loaded at some time."""
        self._refused: dict[str, MeasurementUnavailable] = {}
        self._failures: Counter[str | None] = Counter()
        """In a row."""
        self._shared_failures: Counter[str] = Counter()
        """Those of several requests at a time, of which any may be the cause."""
        self._early: tuple[Engine, str] | None = None
        """A process that began to load a model while another one worked."""
        self._is_fresh = False
        self._notes: list[Note] = []
        self.load_s = 0.0
        """Seconds spent waiting for engines and models."""

    def start(self) -> None:
        """Start the process now, so that its start overlaps with other work."""
        self._engine = self._engine or self._starter.start(self._spec)

    def describe(self) -> EngineReport:
        """Return what the engine is; it is asked only once."""
        if self._report is None:
            self._require_few_failures(None)
            try:
                with self._loading() as engine:
                    self._report = engine.describe()
            except EngineFailed:
                self._failures[None] += 1
                raise
        return self._report

    @property
    def is_remote(self) -> bool:
        """Whether the engine is only a client of what computes."""
        return self._report is not None and Ability.REMOTE in self._report.can

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
        """Run a cell once on its model, alone."""
        self.load(model)
        with self._process() as engine:
            return next(engine.generate([CellRun(cell=cell, trace=trace)])).answer()

    def generate_once(
        self, model: ModelSpec, runs: Sequence[CellRun], *, at_once: bool
    ) -> Generator[TimedGeneration | MeasurementUnavailable]:
        """Make runs on a model together or one after the other, none of them twice.

        Yields the answer to each, or why it was refused; a dead engine is raised.
        """
        self._require_few_failures(model.name)
        self.load(model)
        with self._process() as engine:
            try:
                for some in [runs] if at_once else [[run] for run in runs]:
                    yield from map(_required_alive, engine.generate(some))
            except BaseException:
                # Its answers would be taken for those of later requests.
                self._close_engine()
                raise

    def generate_all(
        self,
        model: ModelSpec,
        runs: Iterable[CellRun],
        *,
        is_wanted: Callable[[CellRun], bool],
        alone: bool,
    ) -> Generator[Completed[CellRun, TimedGeneration]]:
        """Make runs on a model, and yield each with its outcome.

        After a failure that any of several runs may have caused, those without an outcome are made
        again one at a time. An iterator that is closed early ends the process.

        Args:
            model: the model to load.
            runs: consumed as the engine is ready for them.
            is_wanted: called before each run is made, or made again.
            alone: make one run at a time, whatever the engine's concurrency.
        """
        work: _Work[CellRun, TimedGeneration] = _Work(
            model=model,
            ask=lambda engine, some: engine.generate(some),
            piece_of=lambda run: run.cell,
            is_wanted=is_wanted,
        )
        return self._all(work, runs, alone=alone)

    def score_all(
        self, model: ModelSpec, requests: Iterable[ScoreRequest]
    ) -> Generator[Completed[tuple[int, ScoreRequest], Scored]]:
        """Score responses with a model, and yield each, with its number, and its outcome."""
        work: _Work[tuple[int, ScoreRequest], Scored] = _Work(
            model=model,
            ask=lambda engine, some: engine.score(request for _, request in some),
            piece_of=lambda numbered: numbered[0],
            is_wanted=lambda _: True,
        )
        return self._all(work, enumerate(requests), alone=False)

    def verify_all(
        self, model: ModelSpec, requests: Iterable[VerifyRequest]
    ) -> Generator[Completed[VerifyRequest, Verified]]:
        """Verify tokens with a model, and yield each request with its outcome."""
        work: _Work[VerifyRequest, Verified] = _Work(
            model=model,
            ask=lambda engine, some: engine.verify(some),
            piece_of=lambda request: request.cell,
            is_wanted=lambda _: True,
        )
        return self._all(work, requests, alone=False)

    def facts_of(self, model: ModelSpec) -> Facts:
        """Return the known provenance of everything that is measured with a model."""
        known = (part.facts for part in (self._report, self._known.get(model.name)) if part)
        return {name: value for facts in known for name, value in facts.items()}

    def notes(self) -> tuple[Note, ...]:
        """Return the notes on the models so far, the engine's and those on its failures."""
        loaded = [
            Note(about=name, message=message, origin=NoteOrigin.ENGINE)
            for name, loaded in self._known.items()
            for message in loaded.notes
        ]
        return (*loaded, *self._notes)

    def start_fresh(self) -> None:
        """Start the process that `switch_to_fresh` will use, so that its start costs no time."""
        self._fresh = self._starter.start(self._spec)

    def load_fresh(self, model: ModelSpec) -> None:
        """Begin to load a model in the process of `start_fresh`, if both fit on the device."""
        if self._fresh is not None and self._known[model.name].has_room_for_another:
            # If the file is missing by now, it shows when the model is needed.
            with suppress(MeasurementUnavailable):
                file = self._file_of(model)
                self._fresh.begin_load(model, file, concurrency=self._limit_of(model))
                self._early = self._fresh, model.name

    def switch_to_fresh(self) -> None:
        """Continue with a process that has done nothing yet, and with a clean record.

        It makes one run at a time.
        """
        if self._early is not None and self._engine is not None:
            # The fresh one has its memory already.
            self._ending, self._engine, self._model = self._engine, None, None
            self._ending.begin_close()
        self._close_engine()
        self._engine, self._fresh = self._fresh, None
        self._is_fresh = True
        self._refused.clear()
        self._failures.clear()

    def close(self) -> None:
        """End every process; safe to call more than once."""
        self._close_engine()
        self._close_ending()
        fresh, self._fresh = self._fresh, None
        if fresh is not None:
            fresh.close()

    def _all(
        self, work: _Work[R, T], requests: Iterable[R], *, alone: bool
    ) -> Generator[Completed[R, T]]:
        name = work.model.name
        succeeded: Hashable = None
        """The piece whose requests succeeded, as far as known."""
        for done in self._completed(work, requests, alone=alone):
            piece, value = work.piece_of(done.request), done.outcome.value
            if succeeded not in {None, piece}:
                self._failures[name] = 0
            self._failures[name] += isinstance(value, EngineFailed)
            succeeded = None if isinstance(value, MeasurementUnavailable) else piece
            yield done
        if succeeded is not None:
            self._failures[name] = 0

    def _completed(
        self, work: _Work[R, T], requests: Iterable[R], *, alone: bool
    ) -> Iterator[Completed[R, T]]:
        source = filter(work.is_wanted, requests)
        for first in source:
            is_alone = alone or self._shared_failures[work.model.name] >= MAX_FAILURES_IN_A_ROW
            yield from self._some(work, iter([first]) if is_alone else chain([first], source))

    def _some(self, work: _Work[R, T], requests: Iterator[R]) -> Iterator[Completed[R, T]]:
        """Yield the outcome of the first request, and of the others until the engine ends."""
        try:
            self._require_few_failures(work.model.name)
            self.load(work.model)
        except MeasurementUnavailable as error:
            without_answer: Outcome[T] = Outcome(value=error, had_neighbours=False)
            yield Completed(request=next(requests), outcome=without_answer)
            return
        sent: deque[tuple[R, float]] = deque()
        try:
            yield from self._answered(work, requests, sent)
        except EngineFailed as error:
            failure = error
        else:
            return
        lost = [request for request, _ in sent]
        self._note_shared_failure(work.model, failure, requests=len(lost))
        for request in lost:
            if work.is_wanted(request):
                yield from self._some(work, iter([request]))

    def _answered(
        self, work: _Work[R, T], requests: Iterator[R], sent: deque[tuple[R, float]]
    ) -> Iterator[Completed[R, T]]:
        """Send requests, remember those without an outcome, and yield the outcomes."""

        def sending() -> Iterator[R]:
            for request in requests:
                sent.append((request, self._clock()))
                yield request

        with self._process() as engine:
            try:
                for outcome in work.ask(engine, sending()):
                    request, since = sent.popleft()
                    if isinstance(outcome.value, EngineFailed):
                        self._close_engine()
                    latency_s = self._clock() - since
                    yield Completed(request=request, outcome=outcome, latency_s=latency_s)
            finally:
                # Its answers would be taken for those of later requests.
                if sent:
                    self._close_engine()

    def _note_shared_failure(
        self, model: ModelSpec, failure: EngineFailed, *, requests: int
    ) -> None:
        self._shared_failures[model.name] += 1
        message = (
            f"the engine failed with several requests in flight; {requests} were made again alone: "
            f"{failure.reason}"
        )
        self._notes.append(Note(about=model.name, message=message, origin=NoteOrigin.GATE))

    def _require_few_failures(self, model: str | None) -> None:
        failures = self._failures[model]
        if failures == MAX_FAILURES_IN_A_ROW:
            raise MeasurementUnavailable(
                f"not tried: the engine failed {failures} times in a row", remedy=AFTER_FAILURES
            )

    def _load(self, model: ModelSpec) -> None:
        early, self._early = self._early, None
        if early is None or early[0] is not self._engine:
            self._early = early
            self._load_now(model)
            return
        if early[1] != model.name:
            # It loads another model, of which no cell is left.
            self._close_engine()
        try:
            self._load_now(model)
        except MeasurementUnavailable:
            # The other process may have held the memory.
            self._close_ending()
            self._close_engine()
            self._load_now(model)

    def _load_now(self, model: ModelSpec) -> None:
        file = self._file_of(model)
        limit = self._limit_of(model) if self._is_fresh else None
        with self._loading() as engine:
            self._model = None
            loaded = engine.load(model, file, concurrency=limit)
        self._require_file(model, file, loaded)
        _require_adapters(model, file, loaded)
        if limit is not None:
            # Not the limit, which the next process would not get again then.
            loaded = replace(loaded, concurrency=self._known[model.name].concurrency)
        self._known[model.name] = loaded
        self._model = model.name

    def _require_file(self, model: ModelSpec, file: ModelFile, loaded: LoadedModel) -> None:
        """Raise `MeasurementUnavailable` unless the loaded file is the expected one."""
        expected, found = file.sha256, loaded.sha256
        if expected is None or expected == found:
            return
        if found is None:
            raise MeasurementUnavailable(
                f"{model.name} is pinned, and its engine, which did not start the server, does not "
                "report which file the server has loaded",
                remedy=f"have the engine start the server, or remove the pin of {model.name}",
            )
        if model.name in self._known:
            raise MeasurementUnavailable(
                f"the file of {model.name} was replaced during the check",
                remedy="check again, and do not change the file during the check",
            )
        raise another_file(model, expected=expected, found=found)

    def _file_of(self, model: ModelSpec) -> ModelFile:
        file = self._files.locate(model)
        known = self._known.get(model.name)
        if known is None:
            return file
        # A file replaced during the check would be another model by the same name.
        lora = (
            replace(one, sha256=known.facts[spec.sha256_fact])
            for spec, one in zip(model.lora, file.lora, strict=True)
        )
        return replace(file, sha256=known.sha256, states=known.states, lora=tuple(lora))

    def _limit_of(self, model: ModelSpec) -> int | None:
        """Return how many requests at a time a fresh process is to be ready for."""
        known = self._known.get(model.name)
        return 1 if known is not None and known.concurrency > 1 else None

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

    def _close_ending(self) -> None:
        ending, self._ending = self._ending, None
        if ending is not None:
            ending.close()


def _required_alive(outcome: Outcome[T]) -> T | MeasurementUnavailable:
    if isinstance(outcome.value, EngineFailed):
        raise outcome.value
    return outcome.value


def _require_adapters(model: ModelSpec, file: ModelFile, loaded: LoadedModel) -> None:
    """Raise `MeasurementUnavailable` unless the engine reports each adapter as it was sent."""
    for spec, one in zip(model.lora, file.lora, strict=True):
        digest, scale = (loaded.facts.get(fact) for fact in (spec.sha256_fact, spec.scale_fact))
        if digest is None or one.sha256 not in {None, digest} or scale != str(spec.scale):
            raise MeasurementUnavailable(
                f"the engine reports the adapter {spec.key} as {digest or 'none'} with the scale "
                f"{scale or 'none'}, so it may not have applied {one.sha256 or 'it'} with "
                f"{spec.scale}",
                remedy="use an engine that applies LoRA adapters, or remove lora from the model",
            )
