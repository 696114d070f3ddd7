"""Find the one change that gives a golden's tokens: run a cell with one thing changed at a time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from repro_gate.checks.tokens.experiments import (
    ExperimentPorts,
    UnchangedRun,
    repeat,
    run_experiments,
    run_unchanged,
)
from repro_gate.core.attribution import (
    Attribution,
    definition_put_back,
    likeness,
    not_put_back,
    settings_put_back,
)
from repro_gate.core.axes import (
    DEVICE,
    ENGINE,
    Bounds,
    Effect,
    Experiment,
    Finding,
    NotTried,
    experiments_of,
    is_repeated,
)
from repro_gate.core.engines import EngineSpec, ModelSpec
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.generation import Place, first_divergence
from repro_gate.core.tokens.golden import Facts, Golden, provenance_changes


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionPlan:
    """A divergence, and what may be changed to explain it."""

    report: CellReport
    facts: Facts
    """The provenance of its first run."""
    golden: Golden
    model: ModelSpec
    cores: int
    """That the engine may use."""
    engines: tuple[EngineSpec, ...]
    """Other engines to run the model on."""


def attribute(plan: AttributionPlan, *, ports: ExperimentPorts) -> Attribution:
    """Return which changes give the golden's tokens on this machine.

    An interruption after the unchanged run ends the experiments, not the result.

    Raises:
        MeasurementUnavailable: the unchanged run cannot be made or repeated.
    """
    cell, golden = plan.report.cell, plan.golden.generation
    unchanged = run_unchanged(plan.model, [cell], ports=ports)
    now = unchanged.generations[cell]
    observed = plan.report.generation
    found = Attribution(
        cell=cell,
        golden=golden,
        reproduces=observed is not None and first_divergence(observed, now) is None,
        unchanged=likeness(golden, now),
        is_gone=first_divergence(golden, now) is None,
        machine=provenance_changes(plan.facts, unchanged.facts),
        is_repeated=True,
    )
    candidates: list[Finding] = []
    axes: list[Finding] = []
    try:
        again = repeat(unchanged, ports=ports)
        if not is_repeated(again):
            return replace(found, is_repeated=False)
        if found.is_gone:
            return found
        _extend(candidates, _candidates(plan, unchanged), unchanged, ports)
        _extend(axes, _axes(plan, unchanged, candidates), unchanged, ports)
    except KeyboardInterrupt:
        found = replace(found, interrupted=True)
    return replace(found, candidates=tuple(candidates), axes=tuple(axes))


def _extend(
    findings: list[Finding],
    experiments: Iterable[Experiment | NotTried],
    unchanged: UnchangedRun,
    ports: ExperimentPorts,
) -> None:
    """Add what experiments show, one by one, so that an interruption keeps what was found."""
    with closing(run_experiments(unchanged, experiments, ports=ports)) as found:
        for each in found:
            findings.append(each)  # noqa: PERF402 -- extend() may lose them


def _candidates(plan: AttributionPlan, unchanged: UnchangedRun) -> Iterator[Experiment | NotTried]:
    """Yield what changed since the golden was recorded, put back."""
    recorded, model = plan.golden.cell, unchanged.model
    if recorded != plan.report.cell:
        yield from definition_put_back(recorded, plan.report.cell, model)
    changes = provenance_changes(plan.golden.provenance, unchanged.facts)
    for each in settings_put_back(changes, model):
        yield _of_golden(each, plan)
    yield from not_put_back(changes)


def _axes(
    plan: AttributionPlan, unchanged: UnchangedRun, findings: Sequence[Finding]
) -> Iterator[Experiment | NotTried]:
    """Yield everything else that can be changed on a machine of the golden's profile."""
    (now,) = unchanged.generations.values()
    bounds = Bounds(cores=plan.cores, prompt=unchanged.longest_prompt, engines=plan.engines)
    tried = [each.experiment.model for each in findings if isinstance(each, Effect)]
    divergence = first_divergence(plan.golden.generation, now)
    is_prompt = divergence is None or divergence.place in {Place.TEMPLATE, Place.PROMPT}
    for each in experiments_of(unchanged.model, bounds):
        if each.axis == DEVICE or (isinstance(each, Experiment) and each.model in tried):
            continue
        # No setting changes a prompt.
        if not is_prompt or each.axis == ENGINE:
            yield _of_golden(each, plan)


def _of_golden(each: Experiment | NotTried, plan: AttributionPlan) -> Experiment | NotTried:
    """Return an experiment with the definition of the golden."""
    recorded = plan.golden.cell
    if isinstance(each, NotTried) or recorded == plan.report.cell:
        return each
    return replace(each, cell=recorded)
