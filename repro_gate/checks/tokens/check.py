"""The token gate: does this machine still say what the goldens say?"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import repro_gate
from repro_gate.checks.tokens.parallel import ParallelRunner
from repro_gate.checks.tokens.runner import CheckPorts, MatrixRunner, Watch
from repro_gate.core.cells import Cell, Factor
from repro_gate.core.controls import ControlReport, agreeing_seeds, judge_controls
from repro_gate.core.goldens import Golden
from repro_gate.core.judgement import judge
from repro_gate.core.matrix import Plan
from repro_gate.core.measurement import Measurement
from repro_gate.core.report import CellReport, GateReport, Note, NoteOrigin, Timing
from repro_gate.core.verdicts import (
    STOPPED,
    Drift,
    Inconclusive,
    Nondeterministic,
    Orphan,
    Vacuous,
    Verdict,
)
from repro_gate.errors import InputInvalid
from repro_gate.ports import GoldenReader

_INTERRUPTED = Inconclusive(
    reason="the check was interrupted", remedy="let the check run to its end"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What is committed for the machines that were measured."""

    goldens: Mapping[Cell, Golden]
    orphans: tuple[Orphan, ...]


def check_tokens(
    plan: Plan, *, ports: CheckPorts, started: float, started_at: str, lanes: Sequence[Plan] = ()
) -> GateReport:
    """Return a verdict on every cell of the plan, and on every golden that no cell claims.

    An interruption (`KeyboardInterrupt`) ends the measurement, not the report.

    Args:
        plan: what to measure.
        ports: the neighbours.
        started: when the command began, by `ports.clock`.
        started_at: the same by the calendar, ISO 8601.
        lanes: the parts of the plan that different devices measure at the same time.

    Raises:
        InputInvalid: goldens are broken; raised before anything is measured, naming each.
        MeasurementUnavailable: the devices are not of one class.
    """
    seen, known = measure_tokens(plan, ports=ports, lanes=lanes)
    timing = seen.timing(wall_s=ports.clock() - started)
    return judge_tokens(plan, seen, known, timing=timing, started_at=started_at)


def measure_tokens(
    plan: Plan, *, ports: CheckPorts, lanes: Sequence[Plan] = (), fail_fast: bool = False
) -> tuple[Measurement, Committed]:
    """Run every cell; return what was seen, and what is committed for it. See `check_tokens`.

    With `fail_fast` nothing more is run after the first cell that differs from its golden or from
    itself, or has no golden.
    """
    part = lanes[0] if lanes else plan
    runner = ParallelRunner(lanes, ports) if len(lanes) > 1 else MatrixRunner(part, ports)
    known = Committed(goldens={}, orphans=())
    watch = Watch(goldens={}, fail_fast=fail_fast)
    interrupted = False
    try:
        runner.describe()
        known = read_committed(ports.goldens, plan=plan, seen=runner.seen)
        watch.goldens = known.goldens
        runner.measure(watch)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        runner.close()
    return replace(runner.seen, interrupted=interrupted, stopped_at=watch.stopped_at), known


def read_committed(goldens: GoldenReader, *, plan: Plan, seen: Measurement) -> Committed:
    """Return what is committed for the machines that a measurement was made on.

    Raises:
        InputInvalid: goldens are broken; it names each.
    """
    orphans = () if plan.is_part else _orphans(plan, seen, goldens)
    return Committed(goldens=_read_goldens(plan, seen, goldens), orphans=tuple(orphans))


def judge_tokens(
    plan: Plan, seen: Measurement, known: Committed, *, timing: Timing, started_at: str
) -> GateReport:
    """Return the verdicts that a measurement of the plan gives."""
    engines = list({model.engine.name: None for model in plan.models.values()})
    # As one machine comes upon them, whoever told of them first.
    models = sorted(plan.models.values(), key=lambda model: engines.index(model.engine.name))
    observed = seen.observed
    controls = {
        model.name: judge_controls(seen.controls, model=model.name, observed=observed)
        for model in models
    }
    return GateReport(
        tool_version=repro_gate.__version__,
        started_at=started_at,
        suites=tuple({suite.name: None for suite in plan.suites.values()}),
        cells=tuple(_cell_reports(plan, seen, known.goldens, controls)),
        orphans=known.orphans,
        controls=tuple(chain.from_iterable(controls.values())),
        engines=tuple(e for name in engines for e in seen.engines if e.name == name),
        models={m.name: seen.models[m.name] for m in models if m.name in seen.models},
        timing=timing,
        interrupted=seen.interrupted,
        provenances=seen.provenances(plan.cells),
        notes=(*seen.notes, *_certain_prompts(plan, seen, controls)),
    )


def _certain_prompts(
    plan: Plan, seen: Measurement, controls: Mapping[str, Sequence[ControlReport]]
) -> Iterator[Note]:
    """Note which prompts leave nothing to a seed that matters; of a part this is not known."""
    if plan.is_part:
        return
    prompts: dict[str, list[str]] = defaultdict(list)
    for cell, *_ in agreeing_seeds(seen.observed):
        seeds = (each for each in controls[cell.model] if each.contrast.factor is Factor.SEED)
        if any(each.divergence is not None for each in seeds):
            prompts[cell.model].append(cell.prompt)
    for model, names in prompts.items():
        yield Note(
            about=model,
            message=f"every seed gives the same output for {', '.join(names)}: the model is "
            "certain there, and more seeds of such a prompt show nothing more",
            origin=NoteOrigin.GATE,
        )


def _read_goldens(plan: Plan, seen: Measurement, goldens: GoldenReader) -> dict[Cell, Golden]:
    found: dict[Cell, Golden] = {}
    errors: list[InputInvalid] = []
    for name, profile in seen.profiles.items():
        recorded = goldens.recorded(profile)
        for cell in plan.cells:
            if plan.model_of(cell).engine.name == name and cell.id in recorded:
                try:
                    found[cell] = goldens.read(profile, cell.id)
                except InputInvalid as error:
                    errors.append(error)
    if errors:
        raise InputInvalid("\n".join(map(str, errors)))
    return found


def _orphans(plan: Plan, seen: Measurement, goldens: GoldenReader) -> list[Orphan]:
    # Syrupy can miss an unused golden, depending on how pytest was called.
    return [
        Orphan(id=cell_id, origin=profile)
        for profile in sorted(set(seen.profiles.values()))
        for cell_id in sorted(goldens.recorded(profile) - plan.claimed)
    ]


def _cell_reports(
    plan: Plan,
    seen: Measurement,
    goldens: Mapping[Cell, Golden],
    controls: Mapping[str, Sequence[ControlReport]],
) -> list[CellReport]:
    profiles, provenances = seen.profiles, seen.provenances(plan.cells)
    reports: list[CellReport] = []
    for cell in plan.cells:
        done = seen.repetitions.get(cell)
        verdict, unfinished = _verdict(plan, cell, seen, goldens.get(cell), controls[cell.model])
        reports.append(
            CellReport(
                suite=plan.suites[cell].name,
                cell=cell,
                verdict=verdict,
                runs=done.runs if done else 0,
                generation=done.first if done else None,
                profile=profiles.get(plan.model_of(cell).engine.name),
                provenance=provenances.index(seen.facts[cell]) if done else None,
                unfinished=unfinished,
            )
        )
    return reports


def _verdict(
    plan: Plan,
    cell: Cell,
    seen: Measurement,
    golden: Golden | None,
    controls: Sequence[ControlReport],
) -> tuple[Verdict, Inconclusive | None]:
    """Return the verdict on a cell, and why a finding rests on fewer runs than planned."""
    done = seen.repetitions.get(cell)
    complete = done is not None and done.runs == plan.runs_of(cell)
    unreached = _INTERRUPTED if seen.stopped_at is None else STOPPED
    problem = seen.problems.get(cell) or (None if complete else unreached)
    if done is None:
        return problem or unreached, None
    has_stopped = cell == seen.stopped_at
    # What ended the check is its finding, whatever a control elsewhere casts doubt on.
    doubts = () if has_stopped else controls
    verdict = judge(done, cell=cell, golden=golden, facts=seen.facts[cell], controls=doubts)
    # A difference that was seen is a finding whether or not the other runs were made.
    if problem is None or has_stopped or isinstance(verdict, Nondeterministic | Drift | Vacuous):
        return verdict, problem
    return problem, None
