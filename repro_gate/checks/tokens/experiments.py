"""Run a model with one thing changed at a time, and compare its tokens with the unchanged run."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import repro_gate
from repro_gate.checks.engine_worker import EngineWorker
from repro_gate.core.axes import (
    UNCHANGED,
    AxesReport,
    Bounds,
    CellEffect,
    Effect,
    Experiment,
    Finding,
    NotTried,
    alone,
    cell_effect,
    experiments_of,
    is_repeated,
    on_device,
)
from repro_gate.core.engines import EngineSpec, ModelSpec
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation, Place, first_divergence
from repro_gate.core.tokens.golden import Facts, facts_of_texts
from repro_gate.core.tokens.verification import Verification
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import CellRun, EngineStarter, ModelFiles, Progress, VerifyRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPorts:
    """The ports of experiments."""

    starter: EngineStarter
    files: ModelFiles
    progress: Progress
    clock: Callable[[], float]
    """Monotonic time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnchangedRun:
    """One run of each cell, and what made it."""

    model: ModelSpec
    engine: EngineReport
    facts: Facts
    generations: Mapping[Cell, Generation]
    """Traced, in the order of the cells."""

    @property
    def longest_prompt(self) -> int:
        """The tokens of the longest prompt."""
        return max(len(generation.prompt) for generation in self.generations.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class AxesPlan:
    """What to measure of a model."""

    model: ModelSpec
    cells: tuple[Cell, ...]
    all_cells: int
    """How many cells the matrix has of the model."""
    cores: int
    """That the engine may use."""
    devices: tuple[str, ...]
    """Those besides the CPU that an engine may have."""
    engines: tuple[EngineSpec, ...]
    """Other engines to run the model on."""


def measure_axes(plan: AxesPlan, *, ports: ExperimentPorts, started_at: str) -> AxesReport:
    """Return what each change does to the cells of a plan.

    An interruption after the unchanged run ends the measurement, not the report.

    Raises:
        MeasurementUnavailable: the unchanged run cannot be made or repeated.
    """
    unchanged = run_unchanged(plan.model, plan.cells, ports=ports)
    again: Effect | None = None
    findings: list[Finding] = []
    interrupted = False
    try:
        again = repeat(unchanged, ports=ports)
        if is_repeated(again):
            bounds = _bounds(plan, unchanged, ports)
            found = run_experiments(unchanged, experiments_of(unchanged.model, bounds), ports=ports)
            with closing(found):
                findings.extend(found)
    except KeyboardInterrupt:
        interrupted = True
    return AxesReport(
        tool_version=repro_gate.__version__,
        started_at=started_at,
        model=plan.model,
        engine=unchanged.engine,
        facts=unchanged.facts,
        cells=plan.cells,
        tokens=sum(len(generation.tokens) for generation in unchanged.generations.values()),
        all_cells=plan.all_cells,
        again=again,
        findings=tuple(findings),
        interrupted=interrupted,
    )


def _bounds(plan: AxesPlan, unchanged: UnchangedRun, ports: ExperimentPorts) -> Bounds:
    spec = plan.model.engine
    is_known = spec.kind.is_llama_cpp and spec.is_cpu
    return Bounds(
        cores=plan.cores,
        prompt=unchanged.longest_prompt,
        devices=other_devices(plan.model, plan.devices, ports=ports) if is_known else (),
        engines=plan.engines,
    )


def run_unchanged(
    model: ModelSpec, cells: Sequence[Cell], *, ports: ExperimentPorts
) -> UnchangedRun:
    """Run each cell once, alone in the engine.

    Raises:
        MeasurementUnavailable: a cell cannot be run.
    """
    model = alone(model)
    with closing(_worker(model, ports)) as worker:
        engine = worker.describe()
        ports.progress.started((cell, 1) for cell in cells)
        made = dict(_runs(worker, _unchanged(model), cells, ports))
        facts = worker.facts_of(model)
    is_chat = any(cell.chat is not None for cell in cells)
    return UnchangedRun(
        model=model,
        engine=engine,
        facts=facts if is_chat else facts_of_texts(facts),
        generations=made,
    )


def repeat(unchanged: UnchangedRun, *, ports: ExperimentPorts) -> Effect:
    """Return what a repetition in another process does, which should be nothing.

    Raises:
        MeasurementUnavailable: a cell cannot be run.
    """
    again = _unchanged(unchanged.model)
    ports.progress.started((cell, 1) for cell in unchanged.generations)
    with closing(_worker(again.model, ports)) as worker:
        return _effect(worker, again, unchanged, ports)


def _unchanged(model: ModelSpec) -> Experiment:
    return Experiment(axis=UNCHANGED, value="", model=model)


def run_experiments(
    unchanged: UnchangedRun,
    experiments: Iterable[Experiment | NotTried],
    *,
    ports: ExperimentPorts,
) -> Generator[Finding]:
    """Yield what each experiment does, or why it was not made, in order."""
    planned = list(experiments)
    made = [each for each in planned if isinstance(each, Experiment)]
    for one in made:
        cells = _cells(one, unchanged)
        ports.progress.started((cell, one.at_a_time) for cell in cells)
    waiting = deque(_worker(each.model, ports) for each in made)
    try:
        for each in planned:
            if isinstance(each, NotTried):
                yield each
                continue
            # The next process starts while this one computes.
            for early in list(waiting)[:2]:
                early.start()
            yield _finding(waiting.popleft(), each, unchanged, ports)
    finally:
        for worker in waiting:
            worker.close()


def other_devices(
    model: ModelSpec, devices: Iterable[str], *, ports: ExperimentPorts
) -> tuple[str, ...]:
    """Return those of some devices that the engine of a model has."""
    workers = {device: _worker(on_device(model, device), ports) for device in devices}
    for worker in workers.values():
        worker.start()
    return tuple(device for device, worker in workers.items() if _is_described(worker))


def _is_described(worker: EngineWorker) -> bool:
    with closing(worker):
        try:
            worker.describe()
        except MeasurementUnavailable:
            return False
        return True


def _worker(model: ModelSpec, ports: ExperimentPorts) -> EngineWorker:
    return EngineWorker(model.engine, starter=ports.starter, files=ports.files, clock=ports.clock)


def _cells(experiment: Experiment, unchanged: UnchangedRun) -> Mapping[Cell, Generation]:
    """Return the unchanged run to compare with, by the cell to run."""
    if experiment.cell is None:
        return unchanged.generations
    return dict.fromkeys([experiment.cell], next(iter(unchanged.generations.values())))


def _finding(
    worker: EngineWorker, experiment: Experiment, unchanged: UnchangedRun, ports: ExperimentPorts
) -> Finding:
    with closing(worker):
        try:
            return _effect(worker, experiment, unchanged, ports)
        except MeasurementUnavailable as error:
            for cell in _cells(experiment, unchanged):
                ports.progress.skipped(cell, runs=experiment.at_a_time)
            return NotTried(axis=experiment.axis, value=experiment.value, reason=str(error))


def _effect(
    worker: EngineWorker, experiment: Experiment, unchanged: UnchangedRun, ports: ExperimentPorts
) -> Effect:
    worker.describe()
    worker.load(experiment.model)
    _require_in_force(experiment, unchanged, worker.facts_of(experiment.model))
    cells = _cells(experiment, unchanged)
    made = list(_runs(worker, experiment, cells, ports))
    verified = _verified(worker, experiment, [_claim(cells[cell], cell, now) for cell, now in made])
    effects: dict[Cell, CellEffect] = {}
    for cell, now in made:
        effect = cell_effect(cell, cells[cell], now, verified.get(cell, ()))
        known = effects.setdefault(cell, effect)
        # Of several runs side by side, the one that differs most counts.
        effects[cell] = min(known, effect, key=lambda one: (one.divergence is None, one.is_exact))
    return Effect(experiment=experiment, cells=tuple(effects.values()))


def _require_in_force(experiment: Experiment, unchanged: UnchangedRun, facts: Facts) -> None:
    """Raise `MeasurementUnavailable` if the engine does not report the change."""
    for name, value in experiment.facts_to_change(unchanged.model).items():
        if facts.get(name) == unchanged.facts.get(name):
            raise MeasurementUnavailable(
                f"the engine reports {name} = {facts.get(name)}, not {value}",
                remedy="use an engine that has the setting",
            )


def _runs(
    worker: EngineWorker, experiment: Experiment, cells: Iterable[Cell], ports: ExperimentPorts
) -> Iterator[tuple[Cell, Generation]]:
    """Yield the traced runs of an experiment; several of each cell if they are side by side."""
    # Other programs may not have them.
    logits = experiment.model.engine.kind.is_llama_cpp
    times = experiment.at_a_time
    runs = [CellRun(cell=cell, trace=True, logits=logits) for _ in range(times) for cell in cells]
    is_alone = times == 1
    is_as_planned = is_alone
    stream = worker.generate_all(
        experiment.model, _begun(runs, ports), is_wanted=lambda _: True, alone=is_alone
    )
    with closing(stream):
        for done in stream:
            generation = done.outcome.answer().generation
            ports.progress.ran(done.request.cell, tokens=len(generation.tokens))
            is_as_planned |= done.outcome.had_neighbours
            yield done.request.cell, generation
    if not is_as_planned:
        raise MeasurementUnavailable(
            "the engine makes one run at a time", remedy="use an engine with several contexts"
        )


def _begun(runs: Iterable[CellRun], ports: ExperimentPorts) -> Iterator[CellRun]:
    for run in runs:
        ports.progress.began(run.cell)
        yield run


def _claim(before: Generation, cell: Cell, now: Generation) -> VerifyRequest | None:
    """Return the request to verify the tokens of the unchanged run, if they are others now."""
    divergence = first_divergence(before, now)
    # After another prompt the tokens are no claim.
    if divergence is None or divergence.place is not Place.OUTPUT:
        return None
    return VerifyRequest.of(cell, prompt=before.prompt, tokens=before.tokens)


def _verified(
    worker: EngineWorker, experiment: Experiment, claims: Iterable[VerifyRequest | None]
) -> Mapping[Cell, Verification]:
    """Return what is drawn in the place of tokens, unless the engine does not verify."""
    asked = {claim.cell: claim for claim in claims if claim is not None}
    found: dict[Cell, Verification] = {}
    for done in worker.verify_all(experiment.model, asked.values()):
        if not isinstance(done.outcome.value, MeasurementUnavailable):
            found[done.request.cell] = done.outcome.value.verification
    return found
