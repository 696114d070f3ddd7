"""The token gate: measure a plan, and compare the tokens with the committed goldens."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import repro_gate
from repro_gate.checks.tokens.grading import grades_of
from repro_gate.checks.tokens.parallel import ParallelRunner
from repro_gate.checks.tokens.runner import CheckPorts, MatrixRunner, Watch
from repro_gate.core.matrix import Plan
from repro_gate.core.report import CellReport, GateReport, Note, NoteOrigin, Timing
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.controls import ControlReport, agreeing_seeds, judge_controls
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.judge import judge
from repro_gate.core.tokens.measurement import Measurement
from repro_gate.core.tokens.modes import ALONE, ModeResult, Proof
from repro_gate.core.tokens.reference import Reference
from repro_gate.core.tokens.verdicts import (
    STOPPED,
    Depends,
    Drift,
    Inconclusive,
    Nondeterministic,
    Orphan,
    Unrecorded,
    Vacuous,
    Verdict,
)
from repro_gate.errors import InputInvalid
from repro_gate.ports import GoldenReader, ReferenceReader

_INTERRUPTED = Inconclusive(
    reason="the check was interrupted", remedy="let the check run to its end"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The goldens, references and orphans of the measured machine profiles."""

    goldens: Mapping[Cell, Golden]
    orphans: tuple[Orphan, ...]
    references: Mapping[str, tuple[Reference, ...]] = field(
        default_factory=dict[str, tuple[Reference, ...]]
    )
    """By profile of the goldens."""
    unused: tuple[tuple[str, str], ...] = ()
    """The profile and the variant of each reference that does not count."""


def check_tokens(
    plan: Plan,
    *,
    ports: CheckPorts,
    started: float,
    started_at: str,
    device_plans: Sequence[Plan] = (),
) -> GateReport:
    """Return a verdict on every cell of the plan, and every orphaned golden.

    An interruption (`KeyboardInterrupt`) ends the measurement, not the report.

    Args:
        plan: what to measure.
        ports: the engines, files, goldens, progress and clock to use.
        started: start of the command, by `ports.clock`.
        started_at: the same as ISO 8601.
        device_plans: the parts of the plan that several devices measure in parallel.

    Raises:
        InputInvalid: goldens are broken; raised before anything is measured, and names each.
        MeasurementUnavailable: the devices have different profiles.
    """
    measured, committed = measure_tokens(plan, ports=ports, device_plans=device_plans)
    timing = measured.timing(wall_s=ports.clock() - started)
    return judge_tokens(plan, measured, committed, timing=timing, started_at=started_at)


def measure_tokens(
    plan: Plan, *, ports: CheckPorts, device_plans: Sequence[Plan] = (), fail_fast: bool = False
) -> tuple[Measurement, Committed]:
    """Run every cell; return the measurement and the committed goldens. See `check_tokens`.

    With `fail_fast` nothing runs after the first drift, nondeterminism or missing golden.
    """
    part = device_plans[0] if device_plans else plan
    runner = (
        ParallelRunner(device_plans, ports) if len(device_plans) > 1 else MatrixRunner(part, ports)
    )
    committed = Committed(goldens={}, orphans=())
    watch = Watch(goldens={}, fail_fast=fail_fast)
    interrupted = False
    try:
        runner.describe()
        committed = read_committed(
            ports.goldens, ports.references, plan=plan, measured=runner.measured
        )
        watch.goldens = committed.goldens
        runner.measure(watch)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        runner.close()
    return replace(runner.measured, interrupted=interrupted, stopped_at=watch.stopped_at), committed


def read_committed(
    goldens: GoldenReader, references: ReferenceReader | None, *, plan: Plan, measured: Measurement
) -> Committed:
    """Return the goldens, their references and the orphans of the measured profiles.

    Raises:
        InputInvalid: goldens or references are broken; the message names each golden.
    """
    orphans = () if plan.is_part else find_orphans(plan, measured, goldens)
    found = _read_goldens(plan, measured, goldens)
    if references is None:
        return Committed(goldens=found, orphans=tuple(orphans))
    profiles = sorted({golden.profile for golden in found.values()})
    return Committed(
        goldens=found,
        orphans=tuple(orphans),
        references={profile: references.read(profile) for profile in profiles},
        unused=tuple(
            (profile, variant) for profile in profiles for variant in references.unused(profile)
        ),
    )


def judge_tokens(
    plan: Plan, measured: Measurement, committed: Committed, *, timing: Timing, started_at: str
) -> GateReport:
    """Return the report on a measurement of the plan."""
    engines = list({model.engine.name: None for model in plan.models.values()})
    # In the order of the plan, whichever device or shard reported first.
    models = sorted(plan.models.values(), key=lambda model: engines.index(model.engine.name))
    observed = measured.observed
    controls = {
        model.name: judge_controls(measured.controls, model=model.name, observed=observed)
        for model in models
    }
    cells = tuple(_cell_reports(plan, measured, committed.goldens, controls))
    return GateReport(
        tool_version=repro_gate.__version__,
        started_at=started_at,
        suites=tuple({suite.name: None for suite in plan.suites.values()}),
        cells=cells,
        orphans=committed.orphans,
        controls=tuple(chain.from_iterable(controls.values())),
        engines=tuple(e for name in engines for e in measured.engines if e.name == name),
        models={m.name: measured.models[m.name] for m in models if m.name in measured.models},
        timing=timing,
        interrupted=measured.interrupted,
        provenances=measured.provenances(plan.cells),
        notes=(
            *measured.notes,
            *_certain_prompts(plan, measured, controls),
            *_reference_notes(plan, committed),
        ),
        grades=grades_of(
            cells,
            suites=plan.suites,
            goldens=committed.goldens,
            references=committed.references,
        ),
    )


def _certain_prompts(
    plan: Plan, measured: Measurement, controls: Mapping[str, Sequence[ControlReport]]
) -> Iterator[Note]:
    """Yield a note on the prompts for which every seed gives the same output.

    A shard does not have all the seeds, so it cannot know.
    """
    if plan.is_part:
        return
    prompts: dict[str, list[str]] = defaultdict(list)
    for cell, *_ in agreeing_seeds(measured.observed):
        seeds = (each for each in controls[cell.model] if each.contrast.factor is Factor.SEED)
        if any(each.divergence is not None for each in seeds):
            prompts[cell.model].append(cell.prompt)
    for model, names in prompts.items():
        yield Note(
            about=model,
            message=f"every seed gives the same output for {', '.join(names)}: the model is "
            "certain there, so more seeds of such a prompt add nothing",
            origin=NoteOrigin.GATE,
        )


def _reference_notes(plan: Plan, committed: Committed) -> Iterator[Note]:
    """Yield a note on each reference that is stale or does not count; once for all shards."""
    if plan.is_part:
        return
    for profile, references in committed.references.items():
        goldens = [each for each in committed.goldens.values() if each.profile == profile]
        for reference in references:
            stale = len(reference.stale(goldens))
            if stale:
                cells = "1 cell" if stale == 1 else f"{stale} cells"
                yield Note(
                    about=reference.variant,
                    message=f"this reference lacks the golden of {cells} as it is now: "
                    f"{reference.remedy}",
                    origin=NoteOrigin.GATE,
                )
    for profile, variant in committed.unused:
        yield Note(
            about=variant,
            message=f"this reference for {profile} grades nothing: the matrix has no such variant, "
            "or another change by its name",
            origin=NoteOrigin.GATE,
        )


def _read_goldens(plan: Plan, measured: Measurement, goldens: GoldenReader) -> dict[Cell, Golden]:
    found: dict[Cell, Golden] = {}
    errors: list[InputInvalid] = []
    recorded = {profile: goldens.recorded(profile) for profile in _golden_profiles(plan, measured)}
    for cell in plan.cells:
        profile = _golden_profile(cell, plan, measured)
        if profile is not None and cell.id in recorded[profile]:
            try:
                found[cell] = goldens.read(profile, cell.id)
            except InputInvalid as error:
                errors.append(error)
    if errors:
        raise InputInvalid("\n".join(map(str, errors)))
    return found


def _golden_profile(cell: Cell, plan: Plan, measured: Measurement) -> str | None:
    """Return the profile whose golden a cell is compared with; None if its engine has none."""
    own = measured.profiles.get(plan.model_of(cell).engine.name)
    return None if own is None else plan.suites[cell].against or own


def _golden_profiles(plan: Plan, measured: Measurement) -> set[str]:
    profiles = {_golden_profile(cell, plan, measured) for cell in plan.cells}
    return {profile for profile in profiles if profile is not None}


def find_orphans(plan: Plan, measured: Measurement, goldens: GoldenReader) -> list[Orphan]:
    """Return the goldens of the measured profiles that no cell of the matrix uses."""
    # Goldens of another profile are checked there.
    own = {plan.model_of(cell).engine.name for cell in plan.cells if not plan.suites[cell].against}
    profiles = {profile for engine, profile in measured.profiles.items() if engine in own}
    # Syrupy can miss an unused golden, depending on how pytest was called.
    return [
        Orphan(id=cell_id, origin=profile)
        for profile in sorted(profiles)
        for cell_id in sorted(goldens.recorded(profile) - plan.claimed)
    ]


def _cell_reports(
    plan: Plan,
    measured: Measurement,
    goldens: Mapping[Cell, Golden],
    controls: Mapping[str, Sequence[ControlReport]],
) -> list[CellReport]:
    profiles, provenances = measured.profiles, measured.provenances(plan.cells)
    reports: list[CellReport] = []
    for cell in plan.cells:
        done = measured.repetitions.get(cell)
        verdict, unfinished = _verdict(
            plan, cell, measured, goldens.get(cell), controls[cell.model]
        )
        reports.append(
            CellReport(
                suite=plan.suites[cell].name,
                cell=cell,
                verdict=verdict,
                runs=done.runs if done else 0,
                generation=done.first if done else None,
                profile=profiles.get(plan.model_of(cell).engine.name),
                provenance=provenances.index(measured.facts[cell]) if done else None,
                unfinished=unfinished,
                verification=measured.verifications.get(cell, ()),
                modes=_mode_results(plan, cell, measured),
            )
        )
    return reports


def _verdict(
    plan: Plan,
    cell: Cell,
    measured: Measurement,
    golden: Golden | None,
    controls: Sequence[ControlReport],
) -> tuple[Verdict, Inconclusive | None]:
    """Return the verdict on a cell, and why a finding rests on fewer runs than planned."""
    done, problem = measured.repetitions.get(cell), _problem_of(plan, cell, measured)
    if done is None:
        return problem or _unreached(measured), None
    has_stopped = cell == measured.stopped_at
    # With --fail-fast this finding ended the check; a failed control does not hide it.
    doubts = () if has_stopped else controls
    verdict = judge(
        done,
        cell=cell,
        golden=golden,
        facts=measured.facts[cell],
        controls=doubts,
        modes=_mode_results(plan, cell, measured),
    )
    against = plan.suites[cell].against
    if against is not None and isinstance(verdict, Unrecorded):
        verdict = _without_golden(verdict, golden, against=against)
    # An observed difference is a finding, whether or not the other runs were made.
    is_finding = isinstance(verdict, Nondeterministic | Drift | Depends | Vacuous)
    if problem is None or has_stopped or is_finding:
        return verdict, problem
    return problem, None


def _problem_of(plan: Plan, cell: Cell, measured: Measurement) -> Inconclusive | None:
    """Return why a cell has fewer runs than planned; None when it has all."""
    done = measured.repetitions.get(cell)
    is_complete = done is not None and done.runs == plan.runs_of(cell)
    return measured.problems.get(cell) or (None if is_complete else _unreached(measured))


def _unreached(measured: Measurement) -> Inconclusive:
    return _INTERRUPTED if measured.stopped_at is None else STOPPED


def _mode_results(plan: Plan, cell: Cell, measured: Measurement) -> tuple[ModeResult, ...]:
    """Return the results of a cell in every mode that its suite asks for."""
    known = measured.modes.get(cell, {})
    lacking = _problem_of(plan, cell, measured)
    results: list[ModeResult] = []
    for mode, level in plan.modes_of(cell).items():
        result = replace(known.get(mode, ModeResult(mode=mode, level=level)), level=level)
        if mode == ALONE and lacking is None:
            result = result.proven()
        elif mode == ALONE or mode not in known:
            why = lacking or _unreached(measured)
            result = result.judged(Proof.UNKNOWN, why.reason, why.remedy)
        results.append(result)
    return tuple(results)


def _without_golden(verdict: Unrecorded, golden: Golden | None, *, against: str) -> Inconclusive:
    """Return the verdict on a cell without a golden of the profile that its suite is against."""
    reason = f"there is no golden for {against}" if golden is None else verdict.reason
    return Inconclusive(
        reason=f"{reason}, which its suite is against" if golden is None else reason,
        remedy=f"repro-gate update-snapshots on {against}, with a suite of tokens",
    )
