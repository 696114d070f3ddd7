"""Run every cell of a plan as often as planned, with the controls of each model."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import assert_never

import repro_gate
from repro_gate.checks.engine_worker import MAX_FAILURES_IN_A_ROW, EngineWorker
from repro_gate.checks.tokens.modes import Hooks, ModeRunner, answers_in, cold, require_alone
from repro_gate.core.engines import Ability, ModelSpec
from repro_gate.core.matrix import Plan
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.chat import Chat
from repro_gate.core.tokens.controls import (
    MAX_AGREEING,
    Contrast,
    Control,
    applies,
    further,
    is_milder,
    is_settled,
    shown_by,
)
from repro_gate.core.tokens.generation import Generation, Token
from repro_gate.core.tokens.golden import Conditions, Facts, Golden, facts_of_texts
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.core.tokens.judge import Repetition, new_finding
from repro_gate.core.tokens.measurement import Measurement
from repro_gate.core.tokens.modes import Mode
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Finding,
    Inconclusive,
    Nondeterministic,
    Unrecorded,
)
from repro_gate.core.tokens.verification import claim_of
from repro_gate.errors import EngineFailed, MeasurementUnavailable
from repro_gate.ports import (
    CellRun,
    EngineStarter,
    GoldenReader,
    ModelFiles,
    Outcome,
    Progress,
    ReferenceReader,
    RunLog,
    TimedGeneration,
    VerifyRequest,
)

_MAX_DEATHS_OF_ONE_INPUT = 2
"""After this many, a control is tried with another prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPorts:
    """The ports of a token check."""

    starter: EngineStarter
    files: ModelFiles
    goldens: GoldenReader
    progress: Progress
    clock: Callable[[], float]
    """Monotonic time in seconds."""
    run_log: RunLog | None = None
    """Has the runs of an interrupted update, and takes each new one; None for a check."""
    references: ReferenceReader | None = None
    """None for an update, which grades nothing."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """State shared by the devices that measure a plan."""

    goldens: Mapping[Cell, Golden]
    fail_fast: bool
    stopped_at: Cell | None = None
    """The cell whose finding ended the measurement, with `fail_fast`."""


class MatrixRunner:
    """Measures a plan on one device: warm runs first, the last ones in a fresh process."""

    def __init__(self, plan: Plan, ports: CheckPorts) -> None:
        self._plan = plan
        self._ports = ports
        self._measured = Measurement()
        self._workers: dict[str, EngineWorker] = {}
        self._watch = Watch(goldens={}, fail_fast=False)
        hooks = Hooks(is_open=self._is_open, receive=self._received, differs=self._differs)
        self._modes = ModeRunner(plan, self._measured, ports.progress, hooks=hooks)

    @property
    def measured(self) -> Measurement:
        """Everything measured so far."""
        return self._measured

    def describe(self) -> None:
        """Describe every engine; the cells of one that fails are given up."""
        self._ports.progress.started(
            (cell, self._plan.runs_of(cell) + answers_in(self._plan, cell))
            for cell in self._plan.cells
        )
        specs = {model.engine.name: model.engine for model in self._plan.models.values()}
        for name, spec in specs.items():
            worker = self._workers[name] = EngineWorker(
                spec, starter=self._ports.starter, files=self._ports.files, clock=self._ports.clock
            )
            # All of them first, so that they start in parallel.
            worker.start()
        for name, worker in self._workers.items():
            try:
                self._measured.engines.append(worker.describe())
            except MeasurementUnavailable as error:
                self._give_up(self._cells_on(name), error)

    def measure(self, watch: Watch) -> None:
        """Run every cell, the last runs in a fresh process."""
        self._watch = watch
        for name, worker in self._workers.items():
            models = [m for m in self._plan.models.values() if m.engine.name == name]
            cells = self._open(self._cells_on(name))
            wants_fresh = any(self._plan.suites[cell].fresh_runs for cell in cells)
            if wants_fresh:
                worker.start_fresh()
            for model in models:
                self._measure_model(worker, model, is_last=model is models[-1])
            if wants_fresh:
                worker.switch_to_fresh()
                # In reverse: it may have begun to load the last one.
                for model in reversed(models):
                    self._measure_again(worker, model)
            # A loaded model would take the memory that the next engine needs.
            worker.close()

    def close(self) -> None:
        """Stop every engine."""
        for worker in self._workers.values():
            worker.close()
        self._measured.load_s = sum(worker.load_s for worker in self._workers.values())

    def _cells_on(self, engine: str) -> list[Cell]:
        return [c for c in self._plan.cells if self._plan.model_of(c).engine.name == engine]

    def _cells_of(self, model: ModelSpec) -> list[Cell]:
        return [cell for cell in self._plan.cells if cell.model == model.name]

    def _measure_model(self, worker: EngineWorker, model: ModelSpec, *, is_last: bool) -> None:
        cells = self._open(self._cells_of(model))
        if not cells:
            return
        try:
            loaded = worker.load(model)
        except MeasurementUnavailable as error:
            self._give_up(cells, error)
            return
        self._measured.models[model.name] = loaded.facts
        self._measured.add_notes(worker.notes())
        of_chats = worker.facts_of(model)
        of_texts = facts_of_texts(of_chats)
        for cell in cells:
            facts = of_texts if cell.chat is None else of_chats
            # Before the first run, so that every run has a provenance after an interruption too.
            self._measured.facts[cell] = facts
            self._take_known(cell, facts)
        left = [cell for cell in cells if self._made(cell) < self._plan.runs_of(cell)]
        if is_last and any(self._plan.suites[cell].fresh_runs for cell in left):
            worker.load_fresh(model)
        self._modes.note_instance(model, loaded.instance)
        self._run_warm(worker, model, left, concurrency=loaded.concurrency)
        self._run_controls(worker, model)
        self._verify(worker, model)
        # Last, as it may end the server.
        self._modes.measure(worker, model, cells)
        self._measured.add_notes(worker.notes())

    def _run_warm(
        self, worker: EngineWorker, model: ModelSpec, left: Sequence[Cell], *, concurrency: int
    ) -> None:
        """Make every run that needs no fresh process."""
        # Runs that share batches may depend on each other: company is a mode.
        shares = Ability.CONCURRENT in worker.describe().can
        at_a_time = 1 if shares else concurrency
        alone = dict.fromkeys(
            c for c in left if at_a_time > 1 and not self._plan.suites[c].fresh_runs
        )
        together = {
            cell: range(self._made(cell), self._warm_runs_of(cell) - (cell in alone))
            for cell in left
        }
        order = _interleaved(together, at_a_time=at_a_time)
        runs = (self._run_of(cell, trace=not run) for cell, run in order)
        self._run_all(worker, model, runs, alone=shares)
        # Every cell's last run is alone, so that it shows whether neighbours change the tokens.
        last = (self._run_of(cell, trace=not together[cell].stop) for cell in alone)
        self._run_all(worker, model, last, alone=True)

    def _measure_again(self, worker: EngineWorker, model: ModelSpec) -> None:
        # In reverse, so that each cell runs after a different one than before.
        cells = self._open(reversed(self._cells_of(model)))
        fresh = {cell: self._plan.runs_of(cell) - self._made(cell) for cell in cells}
        runs = (self._run_of(cell, trace=False) for cell in cells for _ in range(fresh[cell]))
        self._run_all(worker, model, runs, alone=True, in_fresh_process=True)
        self._verify(worker, model)
        self._modes.measure_restarted(worker, model, cells)
        self._measured.add_notes(worker.notes())

    def _take_known(self, cell: Cell, facts: Facts) -> None:
        """Take the runs of an interrupted update that were made under the conditions of now."""
        if self._ports.run_log is not None:
            known = self._ports.run_log.known(self._conditions(cell, facts))
            if known is not None:
                self._measured.repetitions[cell] = known
                self._ports.progress.skipped(cell, runs=known.runs)

    def _conditions(self, cell: Cell, facts: Facts) -> Conditions:
        suite, engine = self._plan.suites[cell], self._plan.model_of(cell).engine
        return Conditions(
            cell=cell,
            runs=suite.runs,
            fresh_runs=suite.fresh_runs,
            profile=self._measured.profiles[engine.name],
            # The built-in engine changes with repro-gate.
            facts={
                "repro_gate": repro_gate.__version__,
                **({"evidence": suite.evidence.value} if self._plan.compares_logits(cell) else {}),
                **engine.definition,
                **facts,
            },
        )

    def _run_of(self, cell: Cell, *, trace: bool) -> CellRun:
        # How far log-probabilities move is a part of the result in a mode.
        is_traced = trace or bool(self._plan.modes_of(cell))
        return CellRun(cell=cell, trace=is_traced, logits=self._plan.compares_logits(cell))

    def _made(self, cell: Cell) -> int:
        done = self._measured.repetitions.get(cell)
        return done.runs if done else 0

    def _warm_runs_of(self, cell: Cell) -> int:
        return self._plan.suites[cell].runs - self._plan.suites[cell].fresh_runs

    def _is_open(self, cell: Cell) -> bool:
        """Return whether a cell remains to be measured."""
        return self._watch.stopped_at is None and cell not in self._measured.problems

    def _open(self, cells: Iterable[Cell]) -> list[Cell]:
        return [cell for cell in cells if self._is_open(cell)]

    def _run_all(
        self,
        worker: EngineWorker,
        model: ModelSpec,
        runs: Iterable[CellRun],
        *,
        alone: bool = False,
        in_fresh_process: bool = False,
    ) -> None:
        stream = worker.generate_all(
            model,
            self._begun(runs),
            is_wanted=lambda run: self._is_open(run.cell),
            alone=alone,
        )
        # Ends the runs that were begun when a finding stopped the check.
        with closing(stream):
            for done in stream:
                cell, outcome = done.request.cell, done.outcome
                if not self._is_open(cell):
                    # It was given up after this run had been sent.
                    continue
                try:
                    timed = cold(done.request, outcome.value)
                    if alone:
                        require_alone(timed)
                except MeasurementUnavailable as error:
                    self._give_up([cell], error)
                else:
                    self._add(worker, cell, outcome, in_fresh_process=in_fresh_process)
                if self._watch.stopped_at is not None:
                    return

    def _begun(self, runs: Iterable[CellRun]) -> Iterator[CellRun]:
        for run in runs:
            if self._is_open(run.cell):
                self._ports.progress.began(run.cell)
                yield run

    def _add(
        self,
        worker: EngineWorker,
        cell: Cell,
        outcome: Outcome[TimedGeneration],
        *,
        in_fresh_process: bool,
    ) -> None:
        generation = self._received(cell, outcome.answer())
        before = self._measured.repetitions.get(cell)
        now = self._measured.repetitions[cell] = (
            Repetition(first=generation, first_had_neighbours=outcome.had_neighbours)
            if before is None
            else before.with_run(
                generation,
                in_fresh_process=in_fresh_process and not worker.is_remote,
                had_neighbours=outcome.had_neighbours,
                in_fresh_client=in_fresh_process and worker.is_remote,
            )
        )
        if self._ports.run_log is not None:
            self._ports.run_log.note(self._conditions(cell, self._measured.facts[cell]), now)
        self._ports.progress.ran(cell, tokens=len(generation.tokens))
        if before is not None:
            self._modes.add_alone(cell, generation)
        self._report_finding(cell, before, now)

    def _report_finding(self, cell: Cell, before: Repetition | None, now: Repetition) -> None:
        golden, facts = self._watch.goldens.get(cell), self._measured.facts[cell]
        finding = new_finding(before, now, cell=cell, golden=golden, facts=facts)
        if finding is not None:
            self._found(cell, finding)

    def _differs(self, cell: Cell, mode: Mode) -> None:
        """Report a cell that depends on a mode, if nothing worse is known of it."""
        done, golden = self._measured.repetitions[cell], self._watch.goldens.get(cell)
        facts = self._measured.facts[cell]
        compared = new_finding(None, done, cell=cell, golden=golden, facts=facts)
        if done.difference is None and compared is None:
            self._found(cell, Depends(modes=(mode,)))

    def _found(self, cell: Cell, finding: Finding) -> None:
        is_first = self._watch.fail_fast and self._watch.stopped_at is None
        if is_first and self._fails(cell, finding):
            self._watch.stopped_at = cell
        self._ports.progress.found(cell, finding)

    def _fails(self, cell: Cell, finding: Finding) -> bool:
        """Return whether a finding is one whatever the other cells show."""
        suite = self._plan.suites[cell]
        match finding:
            case Nondeterministic() | Depends():
                return True
            case Drift():
                return suite.fail_on is FailingDrift.ANY
            case Unrecorded():
                return suite.against is None
            case _:
                assert_never(finding)

    def _verify(self, worker: EngineWorker, model: ModelSpec) -> None:
        """Ask how nearly the model generates the tokens that differ from its own."""
        # Not worth another load.
        if self._watch.stopped_at is not None or not worker.has_loaded(model):
            return
        for done in worker.verify_all(model, self._claims(model)):
            # It is evidence only, and not every engine can give it.
            if not isinstance(done.outcome.value, MeasurementUnavailable):
                self._measured.engine_s += done.outcome.value.engine_s
                verification = done.outcome.value.verification
                self._measured.verifications[done.request.cell] = verification

    def _claims(self, model: ModelSpec) -> Iterator[VerifyRequest]:
        for cell in self._cells_of(model):
            claimed = self._claim_of(cell)
            verified = self._measured.verifications.get(cell, ())
            if [token.id for token in verified] == [token.id for token in claimed]:
                continue
            # Runs may differ after their drift was verified.
            self._measured.verifications.pop(cell, None)
            if claimed:
                prompt = self._measured.repetitions[cell].first.prompt
                yield VerifyRequest.of(cell, prompt=prompt, tokens=claimed)

    def _claim_of(self, cell: Cell) -> Sequence[Token]:
        done = self._measured.repetitions.get(cell)
        if done is None:
            return ()
        golden, facts = self._watch.goldens.get(cell), self._measured.facts[cell]
        finding = done.difference or new_finding(None, done, cell=cell, golden=golden, facts=facts)
        return claim_of(done.first, finding)

    def _run_controls(self, worker: EngineWorker, model: ModelSpec) -> None:
        """Find, for each factor, two outputs of a model that differ by it alone."""
        if not self._open(self._cells_of(model)):
            return
        observed = {c: run for c, run in self._measured.observed.items() if c.model == model.name}
        cells = self._plan.all_of(model.name)
        for factor in Factor:
            if applies(factor, cells):
                contrast = shown_by(factor, observed)
                self._measured.controls.append(
                    Control(contrast=contrast)
                    if contrast is not None
                    else self._try_further(worker, model, further(factor, cells))
                )

    def _try_further(
        self, worker: EngineWorker, model: ModelSpec, contrasts: Iterable[Contrast]
    ) -> Control:
        """Return the first control that differs, else one that failed to run, else the last."""
        agreeing: list[Control] = []
        problems: list[Control] = []
        deaths = Counter[str | Chat]()
        for contrast in contrasts:
            asked = contrast.cell.input
            is_implied = any(is_milder(contrast, each.contrast) for each in agreeing)
            if is_implied or deaths[asked] == _MAX_DEATHS_OF_ONE_INPUT:
                continue
            known = [self._measured.problems.get(cell) for cell in (contrast.cell, contrast.varied)]
            if problem := next(filter(None, known), None):
                problems.append(Control(contrast=contrast, problem=_not_shown(problem)))
                continue
            try:
                control = self._control(worker, model, contrast, agreeing)
            except MeasurementUnavailable as error:
                problems.append(Control(contrast=contrast, problem=_not_run(error, contrast)))
                deaths[asked] += isinstance(error, EngineFailed)
            else:
                if control.divergence(self._measured.observed) is not None:
                    return control
                agreeing.append(control)
            if deaths.total() == MAX_FAILURES_IN_A_ROW or len(agreeing) == MAX_AGREEING:
                break
        is_settled_now = is_settled([each.contrast for each in agreeing])
        return problems[0] if problems and not is_settled_now else agreeing[-1]

    def _control(
        self, worker: EngineWorker, model: ModelSpec, contrast: Contrast, before: Sequence[Control]
    ) -> Control:
        """Run the cells of a contrast, except those already measured."""
        reference = None
        if contrast.cell not in self._measured.repetitions:
            known = (each.reference for each in before if each.contrast.cell == contrast.cell)
            reference = next(known, None) or self._generate(
                worker, model, contrast.cell, trace=False
            )
        generation = self._generate(worker, model, contrast.varied, trace=False)
        return Control(contrast=contrast, reference=reference, generation=generation)

    def _generate(
        self, worker: EngineWorker, model: ModelSpec, cell: Cell, *, trace: bool
    ) -> Generation:
        return self._received(cell, worker.generate(model, cell, trace=trace))

    def _received(self, cell: Cell, timed: TimedGeneration) -> Generation:
        self._measured.engine_s += timed.engine_s
        self._measured.generated_tokens += len(timed.generation.tokens)
        if cell in self._plan.suites:
            about = f"{cell.model}--{cell.prompt}"
            self._measured.add_notes(
                Note(about=about, message=message, origin=NoteOrigin.ENGINE)
                for message in timed.notes
            )
        return timed.generation

    def _give_up(self, cells: Iterable[Cell], error: MeasurementUnavailable) -> None:
        for cell in cells:
            self._measured.problems[cell] = Inconclusive(reason=error.reason, remedy=error.remedy)
            left = self._plan.runs_of(cell) - self._made(cell) + answers_in(self._plan, cell)
            self._ports.progress.skipped(cell, runs=left)


def _interleaved(runs: Mapping[Cell, range], *, at_a_time: int) -> Iterator[tuple[Cell, int]]:
    """Yield the runs of some cells after the other, so that neighbours are of different cells.

    The runs of a cell are given by their numbers, counted from 0.
    """
    cells = list(runs)
    for start in range(0, len(cells), at_a_time):
        group = cells[start : start + at_a_time]
        for number in range(max(runs[cell].stop for cell in group)):
            for cell in group:
                if number in runs[cell]:
                    yield cell, number


def _not_shown(error: MeasurementUnavailable | Inconclusive) -> Inconclusive:
    reason = f"its control could not be run, so agreement proves nothing yet: {error.reason}"
    return Inconclusive(reason=reason, remedy=error.remedy)


def _not_run(error: MeasurementUnavailable, contrast: Contrast) -> Inconclusive:
    """Return the problem of a control; its cell may not be in the matrix."""
    if isinstance(error, EngineFailed):
        return _not_shown(error)
    cells = f"cells that differ only in the {contrast.factor} and have different outputs"
    remedy = f"{error.remedy}; or add {cells}"
    return _not_shown(Inconclusive(reason=error.reason, remedy=remedy))
