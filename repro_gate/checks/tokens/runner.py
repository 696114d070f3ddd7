"""Run every cell as often as the plan says, and keep what is needed to judge it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from repro_gate.checks.engine_worker import MAX_FAILURES_IN_A_ROW, EngineWorker
from repro_gate.core.cells import Cell, Factor
from repro_gate.core.controls import (
    MAX_AGREEING,
    Contrast,
    Control,
    applies,
    further,
    is_milder,
    is_settled,
    shown_by,
)
from repro_gate.core.goldens import Golden
from repro_gate.core.judgement import Repetition, new_finding
from repro_gate.core.matrix import Plan
from repro_gate.core.measurement import Measurement
from repro_gate.core.models import ModelSpec
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.tokens import Generation
from repro_gate.core.verdicts import Inconclusive
from repro_gate.errors import EngineFailed, MeasurementUnavailable
from repro_gate.ports import EngineStarter, GoldenReader, ModelFiles, Progress

_MAX_DEATHS_OF_ONE_TEXT = 2
"""Then a control is tried with another text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPorts:
    """The neighbours of a check."""

    starter: EngineStarter
    files: ModelFiles
    goldens: GoldenReader
    progress: Progress
    clock: Callable[[], float]
    """Monotonic time in seconds."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """What is known while a plan is measured; several devices may share it."""

    goldens: Mapping[Cell, Golden]
    fail_fast: bool
    stopped_at: Cell | None = None
    """The cell whose finding ended the measurement; None while there is more to measure."""


class MatrixRunner:
    """Works through a plan; each engine is described first, then measured, then measured fresh."""

    def __init__(self, plan: Plan, ports: CheckPorts) -> None:
        self._plan = plan
        self._ports = ports
        self._seen = Measurement()
        self._workers: dict[str, EngineWorker] = {}
        self._watch = Watch(goldens={}, fail_fast=False)

    @property
    def seen(self) -> Measurement:
        """Everything measured so far."""
        return self._seen

    def describe(self) -> None:
        """Ask every engine what it is; the cells of one that cannot say are given up."""
        cells = self._plan.cells
        runs = sum(map(self._plan.runs_of, cells))
        self._ports.progress.started(cells=len(cells), runs=runs)
        specs = {model.engine.name: model.engine for model in self._plan.models.values()}
        for name, spec in specs.items():
            worker = self._workers[name] = EngineWorker(
                spec, starter=self._ports.starter, files=self._ports.files, clock=self._ports.clock
            )
            # All of them first, so that they start at the same time.
            worker.start()
        for name, worker in self._workers.items():
            try:
                self._seen.engines.append(worker.describe())
            except MeasurementUnavailable as error:
                self._give_up(self._cells_on(name), error)

    def measure(self, watch: Watch) -> None:
        """Run every cell: most runs one after the other, the last ones in a fresh process."""
        self._watch = watch
        for name, worker in self._workers.items():
            models = [m for m in self._plan.models.values() if m.engine.name == name]
            cells = self._open(self._cells_on(name))
            wants_fresh = any(self._plan.suites[cell].fresh_runs for cell in cells)
            if wants_fresh:
                worker.start_fresh()
            for model in models:
                self._measure_model(worker, model)
            if wants_fresh:
                worker.switch_to_fresh()
                for model in models:
                    self._measure_again(worker, model)
            # A model that is still loaded would take the memory that the next engine needs.
            worker.close()

    def close(self) -> None:
        """End every engine."""
        for worker in self._workers.values():
            worker.close()
        self._seen.load_s = sum(worker.load_s for worker in self._workers.values())

    def _cells_on(self, engine: str) -> list[Cell]:
        return [c for c in self._plan.cells if self._plan.model_of(c).engine.name == engine]

    def _cells_of(self, model: ModelSpec) -> list[Cell]:
        return [cell for cell in self._plan.cells if cell.model == model.name]

    def _measure_model(self, worker: EngineWorker, model: ModelSpec) -> None:
        cells = self._open(self._cells_of(model))
        if not cells:
            return
        try:
            loaded = worker.load(model)
        except MeasurementUnavailable as error:
            self._give_up(cells, error)
            return
        self._seen.models[model.name] = loaded.facts
        self._note(model.name, loaded.notes)
        facts = worker.facts_of(model)

        def first_runs(cell: Cell) -> None:
            suite = self._plan.suites[cell]
            # Before the first run: after an interruption no run is without its provenance.
            self._seen.facts[cell] = facts
            for run in range(suite.runs - suite.fresh_runs):
                self._run(worker, model, cell, trace=run == 0)

        self._attempt_each(worker, cells, first_runs)
        self._run_controls(worker, model)

    def _measure_again(self, worker: EngineWorker, model: ModelSpec) -> None:
        def last_runs(cell: Cell) -> None:
            for _ in range(self._plan.suites[cell].fresh_runs):
                self._run(worker, model, cell, in_fresh_process=True)

        # Backwards, so that each cell follows another neighbour than it did before.
        self._attempt_each(worker, self._open(reversed(self._cells_of(model))), last_runs)

    def _open(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return the cells that are still to be measured."""
        if self._watch.stopped_at is not None:
            return []
        return [cell for cell in cells if cell not in self._seen.problems]

    def _attempt_each(
        self, worker: EngineWorker, cells: Iterable[Cell], attempt: Callable[[Cell], None]
    ) -> None:
        for cell in cells:
            try:
                with worker.attempt(cell.model):
                    attempt(cell)
            except MeasurementUnavailable as error:
                self._give_up([cell], error)

    def _run(
        self,
        worker: EngineWorker,
        model: ModelSpec,
        cell: Cell,
        *,
        trace: bool = False,
        in_fresh_process: bool = False,
    ) -> None:
        if self._watch.stopped_at is not None:
            return
        generation = self._generate(worker, model, cell, trace=trace)
        before = self._seen.repetitions.get(cell)
        now = self._seen.repetitions[cell] = (
            Repetition(first=generation)
            if before is None
            else before.with_run(generation, in_fresh_process=in_fresh_process)
        )
        self._ports.progress.ran(cell, tokens=len(generation.tokens))
        self._report_finding(cell, before, now)

    def _report_finding(self, cell: Cell, before: Repetition | None, now: Repetition) -> None:
        golden, facts = self._watch.goldens.get(cell), self._seen.facts[cell]
        finding = new_finding(before, now, cell=cell, golden=golden, facts=facts)
        if finding is not None:
            if self._watch.fail_fast and self._watch.stopped_at is None:
                self._watch.stopped_at = cell
            self._ports.progress.found(cell, finding)

    def _run_controls(self, worker: EngineWorker, model: ModelSpec) -> None:
        """Find, for each factor, two outputs of a model that differ by it alone."""
        if not self._open(self._cells_of(model)):
            return
        observed = {c: run for c, run in self._seen.observed.items() if c.model == model.name}
        cells = self._plan.all_of(model.name)
        for factor in Factor:
            if applies(factor, cells):
                contrast = shown_by(factor, observed)
                self._seen.controls.append(
                    Control(contrast=contrast)
                    if contrast is not None
                    else self._try_further(worker, model, further(factor, cells))
                )

    def _try_further(
        self, worker: EngineWorker, model: ModelSpec, contrasts: Iterable[Contrast]
    ) -> Control:
        """Return the first control that differs, or else one that could not be run, or the last."""
        agreeing: list[Control] = []
        problems: list[Control] = []
        deaths: Counter[str] = Counter()
        for contrast in contrasts:
            text = contrast.cell.text
            is_implied = any(is_milder(contrast, each.contrast) for each in agreeing)
            if is_implied or deaths[text] == _MAX_DEATHS_OF_ONE_TEXT:
                continue
            known = [self._seen.problems.get(cell) for cell in (contrast.cell, contrast.varied)]
            if problem := next(filter(None, known), None):
                problems.append(Control(contrast=contrast, problem=_not_shown(problem)))
                continue
            try:
                control = self._control(worker, model, contrast, agreeing)
            except MeasurementUnavailable as error:
                problems.append(Control(contrast=contrast, problem=_not_run(error, contrast)))
                deaths[text] += isinstance(error, EngineFailed)
            else:
                if control.divergence(self._seen.observed) is not None:
                    return control
                agreeing.append(control)
            if deaths.total() == MAX_FAILURES_IN_A_ROW or len(agreeing) == MAX_AGREEING:
                break
        is_settled_now = is_settled([each.contrast for each in agreeing])
        return problems[0] if problems and not is_settled_now else agreeing[-1]

    def _control(
        self, worker: EngineWorker, model: ModelSpec, contrast: Contrast, before: Sequence[Control]
    ) -> Control:
        """Run what a contrast compares, but for what has been run already."""
        reference = None
        if contrast.cell not in self._seen.repetitions:
            known = (each.reference for each in before if each.contrast.cell == contrast.cell)
            reference = next(known, None) or self._generate(
                worker, model, contrast.cell, trace=False
            )
        generation = self._generate(worker, model, contrast.varied, trace=False)
        return Control(contrast=contrast, reference=reference, generation=generation)

    def _generate(
        self, worker: EngineWorker, model: ModelSpec, cell: Cell, *, trace: bool
    ) -> Generation:
        timed = worker.generate(model, cell, trace=trace)
        self._seen.engine_s += timed.engine_s
        self._seen.generated_tokens += len(timed.generation.tokens)
        if cell in self._plan.suites:
            self._note(f"{cell.model}--{cell.prompt}", timed.notes)
        return timed.generation

    def _note(self, about: str, messages: Iterable[str]) -> None:
        self._seen.add_notes(
            Note(about=about, message=message, origin=NoteOrigin.ENGINE) for message in messages
        )

    def _give_up(self, cells: Iterable[Cell], error: MeasurementUnavailable) -> None:
        for cell in cells:
            self._seen.problems[cell] = Inconclusive(reason=error.reason, remedy=error.remedy)
            done = self._seen.repetitions.get(cell)
            runs = self._plan.runs_of(cell) - (done.runs if done else 0)
            self._ports.progress.skipped(cell, runs=runs)


def _not_shown(error: MeasurementUnavailable | Inconclusive) -> Inconclusive:
    reason = f"its control could not be run, so agreement proves nothing yet: {error.reason}"
    return Inconclusive(reason=reason, remedy=error.remedy)


def _not_run(error: MeasurementUnavailable, contrast: Contrast) -> Inconclusive:
    """Return the problem of a contrast of ours; what is refused in it may not be in the matrix."""
    if isinstance(error, EngineFailed):
        return _not_shown(error)
    cells = f"cells that differ by the {contrast.factor} alone and in their output"
    remedy = f"{error.remedy}; or add {cells}"
    return _not_shown(Inconclusive(reason=error.reason, remedy=remedy))
