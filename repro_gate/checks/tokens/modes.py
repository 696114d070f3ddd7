"""Generate the cells of a model in the modes that their suites ask for."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count, cycle
from typing import Final

from repro_gate.checks.engine_worker import MAX_FAILURES_IN_A_ROW, EngineWorker
from repro_gate.core.engines import Ability, ModelSpec
from repro_gate.core.matrix import Plan
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.comparison import largest_shift
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.measurement import Measurement
from repro_gate.core.tokens.modes import (
    ALONE,
    RESTART,
    Answer,
    Mode,
    ModeKind,
    ModeResult,
    Proof,
    in_order,
)
from repro_gate.errors import AFTER_FAILURES, EngineFailed, MeasurementUnavailable
from repro_gate.ports import CellRun, Progress, TimedGeneration

_ABILITIES: Final = {
    ModeKind.CONCURRENT: Ability.CONCURRENT,
    ModeKind.MIXED: Ability.CONCURRENT,
    ModeKind.AFTER_PREFIX: Ability.KEEP_CACHE,
    ModeKind.REPEAT: Ability.KEEP_CACHE,
    ModeKind.RESTART: Ability.RESTART,
}
_MAX_RETRIES: Final = 8
"""In one mode of a model: a busy machine may send a request after others have been answered."""
_MORE_WORDS: Final = " And then it all began again."
"""After the prompt of a cell, in a prompt with the same beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a runner does with the answers in modes."""

    is_open: Callable[[Cell], bool]
    """Whether a cell is still to be measured."""
    receive: Callable[[Cell, TimedGeneration], Generation]
    """Count an answer, and return its generation."""
    differs: Callable[[Cell, Mode], None]
    """Take note of a cell whose answers in a mode must not differ, and do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """Runs that show one mode of some cells."""

    mode: Mode
    at_once: bool = False
    """Or one after the other."""
    before: tuple[CellRun, ...] = ()
    """Made first, and not compared."""
    compared: tuple[CellRun, ...]
    company: tuple[CellRun, ...] = ()
    """Not compared."""

    @property
    def cells(self) -> Sequence[Cell]:
        """The cells whose answers are compared, each once."""
        return list(dict.fromkeys(run.cell for run in self.compared))

    @property
    def runs(self) -> Sequence[tuple[CellRun, bool]]:
        """All runs in order, and whether their answers are compared."""
        parts = ((self.before, False), (self.compared, True), (self.company, False))
        return [(run, is_compared) for runs, is_compared in parts for run in runs]


def answers_in(plan: Plan, cell: Cell) -> int:
    """Return how many answers of a cell are compared in modes, besides its runs."""
    suite = plan.suites[cell]
    kinds = (mode for mode in suite.modes if mode not in {ALONE, RESTART})
    several = (m.sequences if m.kind is ModeKind.CONCURRENT else 1 for m in kinds)
    return sum(several) + suite.restarts


def cold(run: CellRun, value: TimedGeneration | MeasurementUnavailable) -> TimedGeneration:
    """Return the answer to a run.

    Raises:
        MeasurementUnavailable: there is none, or a cold run took tokens from a cache.
    """
    if isinstance(value, MeasurementUnavailable):
        raise value
    if value.cached_tokens and not run.keep_cache:
        raise MeasurementUnavailable(
            f"a run was not cold: {value.cached_tokens} tokens of its prompt came from a cache",
            remedy="turn off the server's cache of prompts for requests that do not ask for it",
        )
    return value


def require_alone(value: TimedGeneration) -> None:
    """Refuse a run alone that had company, as at a server that others use too.

    Raises:
        MeasurementUnavailable: others were at work.
    """
    if value.running is not None and value.running > 1:
        raise MeasurementUnavailable(
            f"a run was not alone: {value.running} sequences were at work at once",
            remedy="keep other requests away from the server, or let the gate start its own",
        )


class ModeRunner:
    """Measures the cells of a plan in their modes, after their runs alone."""

    def __init__(
        self, plan: Plan, measured: Measurement, progress: Progress, *, hooks: Hooks
    ) -> None:
        self._plan = plan
        self._measured = measured
        self._progress = progress
        self._hooks = hooks
        self._instances: dict[str, str | None] = {}
        """What computed the runs alone, by model."""
        self._retries = 0
        """How many rounds of the mode may still be measured again."""

    def add_alone(self, cell: Cell, generation: Generation) -> None:
        """Add a further run alone to the results of a cell."""
        if ALONE in self._plan.modes_of(cell):
            self._add(cell, ALONE, Answer(generation=generation))

    def measure(self, worker: EngineWorker, model: ModelSpec, cells: Sequence[Cell]) -> None:
        """Generate cells of a model in all modes that need no other process."""
        modes = in_order({mode: None for cell in cells for mode in self._plan.modes_of(cell)})
        for mode in modes:
            if mode not in {ALONE, RESTART}:
                self._measure(worker, model, mode, cells)

    def note_instance(self, model: ModelSpec, instance: str | None) -> None:
        """Take note of what computes the runs alone of a model."""
        self._instances[model.name] = instance

    def measure_restarted(
        self, worker: EngineWorker, model: ModelSpec, cells: Sequence[Cell]
    ) -> None:
        """Generate cells of a model again, after the switch to a fresh process."""
        self._measure(worker, model, RESTART, cells)

    def _measure(
        self, worker: EngineWorker, model: ModelSpec, mode: Mode, cells: Iterable[Cell]
    ) -> None:
        is_open = self._hooks.is_open
        wanted = [cell for cell in cells if mode in self._plan.modes_of(cell) and is_open(cell)]
        problem: MeasurementUnavailable | None = None
        deaths, self._retries = 0, _MAX_RETRIES
        for each in self._rounds(mode, wanted):
            if not all(map(is_open, each.cells)):
                # A finding has stopped the check.
                return
            try:
                if problem is not None:
                    raise problem
                self._require_ability(worker, model, mode)
                self._try_round(worker, model, each)
                deaths = 0
            except MeasurementUnavailable as error:
                self._give_up(each, error)
                deaths += isinstance(error, EngineFailed)
                if deaths == MAX_FAILURES_IN_A_ROW:
                    problem = MeasurementUnavailable(
                        f"not tried: the engine failed {deaths} times in a row in this mode",
                        remedy=AFTER_FAILURES,
                    )

    def _require_ability(self, worker: EngineWorker, model: ModelSpec, mode: Mode) -> None:
        ability = _ABILITIES[mode.kind]
        can = worker.describe().can
        if ability not in can:
            is_remote = mode == RESTART and Ability.REMOTE in can
            other = "let the gate start the server, with serve in place of base_url"
            usual = 'use one that does, such as of kind = "served", or leave out the mode'
            raise MeasurementUnavailable(
                f"the engine {model.engine.name} does not report that it can {ability.value!r}",
                remedy=other if is_remote else usual,
            )
        limit = worker.load(model).concurrency
        if mode.sequences > limit:
            raise MeasurementUnavailable(
                f"the engine {model.engine.name} takes at most {limit} requests at a time",
                remedy=f"let it take {mode.sequences}, or ask for fewer",
            )

    def _try_round(self, worker: EngineWorker, model: ModelSpec, each: _Round) -> None:
        """Measure a round, and again while its sequences were not at work at once."""
        self._measure_round(worker, model, each)
        while self._retries and each.at_once and self._is_absent(each):
            self._retries -= 1
            # Only answers that were generated in the mode count.
            for cell in each.cells:
                del self._measured.modes[cell][each.mode]
            self._progress.started((run.cell, 1) for run in each.compared)
            self._measure_round(worker, model, each)

    def _is_absent(self, each: _Round) -> bool:
        results = [self._result(cell, each.mode) for cell in each.cells]
        is_absent = any(result.proof is Proof.ABSENT for result in results)
        return is_absent and not any(result.falls_short for result in results)

    def _measure_round(self, worker: EngineWorker, model: ModelSpec, each: _Round) -> None:
        for run in each.compared:
            self._progress.began(run.cell)
        problem: MeasurementUnavailable | None = None
        running: list[int] = []
        answers = worker.generate_once(model, [run for run, _ in each.runs], at_once=each.at_once)
        with closing(answers):
            # To the end, whatever it brings, or the server would have to be started again.
            for answer, (run, is_compared) in zip(answers, each.runs, strict=True):
                try:
                    timed = cold(run, answer)
                except MeasurementUnavailable as error:
                    problem = problem or error
                    continue
                running += [] if timed.running is None else [timed.running]
                generation = self._hooks.receive(run.cell, timed)
                if is_compared:
                    cached = timed.cached_tokens if run.keep_cache else None
                    self._add(run.cell, each.mode, Answer(generation=generation, cached=cached))
                    self._progress.ran(run.cell, tokens=len(generation.tokens))
        self._judge(worker, model, each, max(running, default=None))
        if problem is not None:
            raise problem

    def _judge(
        self, worker: EngineWorker, model: ModelSpec, each: _Round, running: int | None
    ) -> None:
        instances = self._instances[model.name], worker.load(model).instance
        for cell in each.cells:
            result = replace(self._result(cell, each.mode), running=running)
            self._measured.modes[cell][each.mode] = result.proven(instances=instances)
            if result.falls_short:
                self._hooks.differs(cell, each.mode)

    def _add(self, cell: Cell, mode: Mode, answer: Answer) -> None:
        first = self._measured.repetitions[cell].first
        shift = largest_shift(first, answer.generation)
        result = self._result(cell, mode).with_answer(first, replace(answer, shift=shift))
        self._measured.modes[cell][mode] = result

    def _result(self, cell: Cell, mode: Mode) -> ModeResult:
        results = self._measured.modes.setdefault(cell, {})
        level = self._plan.modes_of(cell)[mode]
        return results.setdefault(mode, ModeResult(mode=mode, level=level))

    def _give_up(self, each: _Round, error: MeasurementUnavailable) -> None:
        for cell in each.cells:
            result = self._result(cell, each.mode)
            planned = sum(run.cell == cell for run in each.compared)
            self._measured.modes[cell][each.mode] = result.judged(
                Proof.UNKNOWN, error.reason, error.remedy
            )
            self._progress.skipped(cell, runs=planned - result.answers)

    def _rounds(self, mode: Mode, cells: Sequence[Cell]) -> Iterator[_Round]:
        if mode.kind is ModeKind.MIXED:
            yield from self._mixed(mode, cells)
            return
        for cell in cells:
            run = self._run_of(cell, keep_cache=mode.kind.keeps_cache)
            match mode.kind:
                case ModeKind.CONCURRENT:
                    yield _Round(mode=mode, compared=(run,) * mode.sequences, at_once=True)
                case ModeKind.RESTART:
                    times = self._plan.suites[cell].restarts
                    yield _Round(mode=mode, compared=(run,) * times)
                case ModeKind.AFTER_PREFIX:
                    yield _Round(mode=mode, compared=(run,), before=(_longer(run),))
                case _:
                    yield _Round(mode=mode, compared=(run,), before=(run,))

    def _mixed(self, mode: Mode, cells: Sequence[Cell]) -> Iterator[_Round]:
        """Yield each cell once among others, in an order of its own for each set of seeds."""
        seeds = sorted({cell.seed for cell in cells})
        order = sorted(cells, key=lambda cell: _shuffled(seeds, cell))
        for start in range(0, len(order), mode.sequences):
            compared = order[start : start + mode.sequences]
            others = [cell for cell in order if cell not in compared]
            missing = mode.sequences - len(compared)
            company = [*others, *_further(order, missing)][:missing]
            yield _Round(
                mode=mode,
                at_once=True,
                compared=tuple(self._run_of(cell) for cell in compared),
                company=tuple(CellRun(cell=cell, trace=False) for cell in company),
            )

    def _run_of(self, cell: Cell, *, keep_cache: bool = False) -> CellRun:
        logits = self._plan.compares_logits(cell)
        return CellRun(cell=cell, trace=True, logits=logits, keep_cache=keep_cache)


def _longer(run: CellRun) -> CellRun:
    """Return the run of a prompt with the same beginning, and of one token."""
    cell, asked = run.cell, run.cell.input
    more = asked + _MORE_WORDS if isinstance(asked, str) else asked.with_more(_MORE_WORDS)
    # A longer output might not fit after the longer prompt.
    longer = replace(cell.with_input(more, prompt=cell.prompt), max_tokens=1)
    return CellRun(cell=longer, trace=False, keep_cache=True)


def _shuffled(seeds: Sequence[int], cell: Cell) -> bytes:
    return hashlib.sha256(f"{seeds} {cell.id}".encode()).digest()


def _further(cells: Sequence[Cell], number: int) -> Iterator[Cell]:
    """Yield cells with other seeds."""
    used = {cell.seed for cell in cells}
    seeds = (seed for seed in count(1) if seed not in used)
    for cell, seed, _ in zip(cycle(cells), seeds, range(number), strict=False):
        yield replace(cell, seed=seed)
