"""Engines that answer and fail according to a script."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from repro_gate.core.engines import Ability, EngineSpec, ModelSpec
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import MODEL_SHA256, Facts
from repro_gate.core.tokens.verification import Verification
from repro_gate.errors import EngineFailed, MeasurementUnavailable
from repro_gate.model_files import FileState
from repro_gate.ports import (
    CellRun,
    LoadedModel,
    ModelFile,
    Outcome,
    Scored,
    ScoreRequest,
    TimedGeneration,
    Verified,
    VerifyRequest,
)
from tests.fakes.values import (
    ENGINE_FACTS,
    PROFILE,
    SCORE_S,
    answer_to,
    digest_of,
    model_facts_of,
    scored_of,
    trace_of,
    with_logits,
)

T = TypeVar("T")
R = TypeVar("R")

DEAD = EngineFailed("the engine was ended by SIGKILL", remedy="free memory")
REFUSED = MeasurementUnavailable("out_of_context: too long", remedy="raise n_ctx")

GENERATE_S = 0.25
LOAD_S = 3.0
DESCRIBE_S = 2.0
STATE = FileState(device=1, inode=2, size=3, modified_ns=4, changed_ns=5)
"""Of every model file of an engine with a concurrency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to one engine process."""

    process: int
    """Counted from 1, in the order in which they were started."""
    what: str
    """`start`, `describe`, `load`, `begin_load`, `generate`, `score` or `close`."""
    about: str = ""
    """The engine started, the model loaded, the id of the cell generated or what was scored."""
    is_traced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong."""

    what: str
    about: str
    error: BaseException = DEAD
    time: int | None = None
    """The occurrence that fails, counted from 1 over all processes; None means all."""

    def strikes(self, asked: Asked, time: int) -> bool:
        """Return whether the fault happens now."""
        meant = (self.what, self.about) == (asked.what, asked.about)
        return meant and self.time in {None, time}


def len_of_prompt(cell: Cell) -> int:
    """Return the number of tokens of a prompt."""
    return len(answer_to(cell).prompt)


def _nothing(seconds: float = 0.0) -> None:
    """Stand in for a missing clock or tripwire."""
    del seconds


@dataclass(slots=True, kw_only=True)
class ScriptedStarter:
    """Starts scripted engines, and logs their requests."""

    voice: Callable[[Cell], Generation] = answer_to
    """The answer for a cell without a script."""
    script: Mapping[Cell, Sequence[Generation]] = field(default_factory=dict)
    """The answers to the runs of a cell, in order; the last one repeats."""
    judge: Callable[[str, ScoreRequest], Scored] = scored_of
    """The score of a response, by the name of the loaded model."""
    verifier: Callable[[VerifyRequest], Verification] | None = None
    """What is drawn in the place of claimed tokens; None for engines that do not verify."""
    digest: Callable[[str], str | None] = digest_of
    """The digest of a model file, by the name of the model; None where the engine lacks it."""
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The notes of an engine, by the name of a model, the id of a cell or the response."""
    faults: Sequence[Fault] = ()
    reports: Mapping[str, EngineReport] = field(default_factory=dict)
    """The description of an engine by its name, when it is not the usual one."""
    concurrency: int = 1
    """How many requests the engines work on at a time; they answer the newest first."""
    crowded: Callable[[Cell], Generation] | None = None
    """The answer for a run with neighbours, where it is another one."""
    can: frozenset[Ability] = frozenset()
    """What the engines can, and report of each run."""
    warm: Callable[[Cell], Generation] | None = None
    """The answer for a run that keeps the cache, where it is another one."""
    cached: Callable[[Cell], int | None] = len_of_prompt
    """How many tokens of the prompt such a run takes from the cache."""
    cold: int = 0
    """How many any other run takes from it."""
    running: Callable[[int], int | None] = int
    """The most sequences that the engine counts, by the requests that it works on."""
    instance: Callable[[int], str | None] = str
    """What computes, by the number of the process; None where it is not reported."""
    has_room_for_another: bool = False
    applied: Facts = field(default_factory=dict)
    """The facts on the adapters of a model."""
    spend: Callable[[float], None] = _nothing
    """Receives the seconds that each answer takes."""
    step: Callable[[], None] = _nothing
    """Called before each answer; may raise."""
    keeps_log: bool = True
    log: list[Asked] = field(default_factory=list)
    engines: list["ScriptedEngine"] = field(default_factory=list)
    times: Counter[tuple[str, str]] = field(default_factory=Counter)

    def start(self, spec: EngineSpec) -> "ScriptedEngine":
        """Start an engine, or raise the fault of its start."""
        number = len(self.engines) + 1
        self.note(Asked(process=number, what="start", about=spec.name))
        engine = ScriptedEngine(spec, number=number, starter=self)
        self.engines.append(engine)
        return engine

    def note(self, asked: Asked) -> int:
        """Log a request, raise its fault, or return how often it was made."""
        self.step()
        self.times[asked.what, asked.about] += 1
        time = self.times[asked.what, asked.about]
        if self.keeps_log:
            self.log.append(asked)
        for fault in self.faults:
            if fault.strikes(asked, time):
                raise fault.error
        return time

    def generated(self, *, process: int | None = None) -> list[str]:
        """Return the ids of the cells that were generated, in order."""
        return [
            asked.about
            for asked in self.log
            if asked.what == "generate" and process in {None, asked.process}
        ]

    @property
    def are_all_closed(self) -> bool:
        """Whether no process was left behind."""
        return all(engine.is_closed for engine in self.engines)


def side_by_side(
    requests: Iterable[R], answer: Callable[[R, int], T], *, concurrency: int = 1
) -> Generator[Outcome[T]]:
    """Answer some requests at a time, the newest first; yield the outcomes in order.

    `answer` gets a request and how many are at work.
    """
    source = iter(requests)
    while some := list(islice(source, concurrency)):
        is_crowded = len(some) > 1
        values: list[T | MeasurementUnavailable] = []
        for request in reversed(some):
            try:
                values.insert(0, answer(request, len(some)))
            except MeasurementUnavailable as error:
                if is_crowded and isinstance(error, EngineFailed):
                    raise
                values.insert(0, error)
        for value in values:
            yield Outcome(value=value, had_neighbours=is_crowded)
            if isinstance(value, EngineFailed):
                return


class ScriptedEngine:
    """One engine process; asserts that its caller keeps to the contract of the port."""

    def __init__(self, spec: EngineSpec, *, number: int, starter: ScriptedStarter) -> None:
        self.number = number
        self.is_closed = False
        self.was_aborted = False
        self._is_dead = False
        self.limits: list[int | None] = []
        """The concurrency that each load was limited to."""
        self.files: list[ModelFile] = []
        """The file of each load."""
        self._held: str | None = None
        self._begun: tuple[str, int | None] | None = None
        self._concurrency = 1
        self._spec = spec
        self._starter = starter

    def describe(self) -> EngineReport:
        """Return the scripted report of this engine."""
        self._answer(Asked(process=self.number, what="describe", about=self._spec.name), DESCRIBE_S)
        usual = EngineReport(
            name=self._spec.name, profile=PROFILE, facts=ENGINE_FACTS, can=self._starter.can
        )
        return self._starter.reports.get(self._spec.name, usual)

    def load(
        self, model: ModelSpec, file: ModelFile, *, concurrency: int | None = None
    ) -> LoadedModel:
        """Load a model."""
        assert file.path is None or file.path.stem == model.name, "the file is another model's"
        assert self._begun in {None, (model.name, concurrency)}, "another load has begun"
        self._begun = None
        self._held = None
        self._answer(Asked(process=self.number, what="load", about=model.name), LOAD_S)
        self._held = model.name
        self.limits.append(concurrency)
        self.files.append(file)
        self._concurrency = concurrency or self._starter.concurrency
        digest = self._starter.digest(model.name)
        facts = {**model_facts_of(model.name), **self._starter.applied}
        if digest is None:
            del facts[MODEL_SHA256]
        return LoadedModel(
            sha256=digest,
            facts=facts,
            notes=self._starter.notes.get(model.name, ()),
            concurrency=self._concurrency,
            states=(STATE,) if self._starter.concurrency > 1 else (),
            has_room_for_another=self._starter.has_room_for_another,
            instance=self._starter.instance(self.number) if self._starter.can else None,
        )

    def begin_load(
        self, model: ModelSpec, file: ModelFile, *, concurrency: int | None = None
    ) -> None:
        """Log the request."""
        del file
        self._begun = model.name, concurrency
        self._starter.note(Asked(process=self.number, what="begin_load", about=model.name))

    def generate(self, runs: Iterable[CellRun]) -> Generator[Outcome[TimedGeneration]]:
        """Yield the scripted generations of these runs."""
        return side_by_side(runs, self._generated, concurrency=self._concurrency)

    def score(self, requests: Iterable[ScoreRequest]) -> Generator[Outcome[Scored]]:
        """Yield the scripted scores of some responses."""
        return side_by_side(requests, self._scored, concurrency=self._concurrency)

    def verify(self, requests: Iterable[VerifyRequest]) -> Generator[Outcome[Verified]]:
        """Yield the scripted verifications of some claims."""
        return side_by_side(requests, self._verified, concurrency=self._concurrency)

    def _verified(self, asked: VerifyRequest, running: int) -> Verified:
        del running
        assert self._held == asked.cell.model, f"{asked.cell.id} was verified on another model"
        if self._starter.verifier is None:
            raise MeasurementUnavailable("bad_request: no such method", remedy="none")
        self._answer(Asked(process=self.number, what="verify", about=asked.cell.id), SCORE_S)
        return Verified(verification=self._starter.verifier(asked), engine_s=SCORE_S)

    def _generated(self, run: CellRun, running: int) -> TimedGeneration:
        cell, can = run.cell, self._starter.can
        assert not run.keep_cache or Ability.KEEP_CACHE in can, f"{cell.id} kept the cache"
        assert self._held == cell.model, f"{cell.id} was asked of an engine with {self._held}"
        asked = Asked(process=self.number, what="generate", about=cell.id, is_traced=run.trace)
        time = self._answer(asked, GENERATE_S)
        runs = self._starter.script.get(cell)
        crowded = self._starter.crowded if running > 1 else None
        warm = self._starter.warm if run.keep_cache else None
        voice = crowded or warm or self._starter.voice
        generation = runs[min(time, len(runs)) - 1] if runs else voice(cell)
        if run.logits and not generation.logits:
            generation = with_logits(generation)
        evidence = trace_of(generation.tokens) if run.trace else ()
        return TimedGeneration(
            generation=replace(
                generation, trace=evidence, logits=generation.logits if run.logits else ()
            ),
            engine_s=GENERATE_S,
            notes=self._starter.notes.get(cell.id, ()),
            cached_tokens=self._cached(run) if Ability.KEEP_CACHE in can else None,
            running=self._starter.running(running) if Ability.CONCURRENT in can else None,
        )

    def _cached(self, run: CellRun) -> int | None:
        return self._starter.cached(run.cell) if run.keep_cache else self._starter.cold

    def _scored(self, asked: ScoreRequest, running: int) -> Scored:
        del running
        assert self._held is not None, "a score was asked of an engine without a model"
        about = f"{self._held}: {asked.response}"
        self._answer(Asked(process=self.number, what="score", about=about), SCORE_S)
        scored = self._starter.judge(self._held, asked)
        return replace(scored, notes=self._starter.notes.get(str(asked.response), ()))

    def abort(self) -> None:
        """Record the abort."""
        self.was_aborted = True

    def begin_close(self) -> None:
        """Do nothing yet: `close` follows."""

    def close(self) -> None:
        """End; any later request is an error of the caller."""
        self.is_closed = True

    def _answer(self, asked: Asked, seconds: float) -> int:
        assert not self.is_closed, "a closed engine was asked"
        assert not self._is_dead, "a dead engine was asked"
        try:
            return self._starter.note(asked)
        except EngineFailed:
            self._is_dead = True
            raise
        finally:
            self._starter.spend(seconds)
