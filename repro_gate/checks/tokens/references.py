"""Record references: force the tokens of goldens through engines with harmless changes.

The unchanged engine comes first: where it does not generate a golden any more, the distances of a
change would contain those of an unknown cause.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

import repro_gate
from repro_gate.checks.engine_worker import EngineWorker
from repro_gate.checks.tokens.runner import CheckPorts
from repro_gate.core.engines import ModelSpec
from repro_gate.core.matrix import Variant
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.comparison import clipped_distance, forced_tokens, positions_of
from repro_gate.core.tokens.generation import Generation, Place, first_divergence
from repro_gate.core.tokens.golden import Facts, Golden, facts_of_texts, provenance_changes
from repro_gate.core.tokens.reference import CellReference, Reference, claim_digest
from repro_gate.core.tokens.verification import Verification
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import CellRun, VerifyRequest

_DIGITS: Final = 6
"""Of a distance or a divergence; more would only record the machine."""
_NOT_NOW: Final = "record where the goldens pass, such as before the change that a check reports"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotForced:
    """A golden without distances, and why."""

    golden: Golden
    variant: str | None
    """None if it is the unchanged engine that has none."""
    reason: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forced:
    """What an engine draws in the place of the tokens of a golden."""

    golden: Golden
    found: CellReference | MeasurementUnavailable
    profile: str | None = None
    """Of the engine; None when it did not report one."""
    facts: Facts


@dataclass(slots=True, kw_only=True)
class RecordedReferences:
    """What was measured of each variant."""

    references: list[Reference]
    refused: list[NotForced]
    unaffected: dict[str, list[str]]
    """By variant, the models whose engine has all of the change already."""


def record_references(
    goldens: Sequence[Golden],
    *,
    models: Mapping[str, ModelSpec],
    variants: Iterable[Variant],
    ports: CheckPorts,
) -> RecordedReferences:
    """Return how far each variant moves the tokens of the goldens of this machine.

    Args:
        goldens: of these models.
        models: by name, without a change.
        variants: the changes.
        ports: the engines, files, progress and clock to use.

    Raises:
        MeasurementUnavailable: engines of several profiles have one variant.
    """
    made = RecordedReferences(references=[], refused=[], unaffected={})
    facts: dict[Cell, Facts] = {}
    for one in _force(goldens, models, ports):
        refusal = _not_generated(one)
        if refusal is None:
            facts[one.golden.cell] = one.facts
        else:
            made.refused.append(refusal)
    for variant in variants:
        found = {
            name: variant.of(model) for name, model in models.items() if variant.changes(model)
        }
        made.unaffected[variant.name] = [name for name in models if name not in found]
        mine = [each for each in goldens if each.cell in facts and each.cell.model in found]
        _add(made, variant.name, variant.change, _force(mine, found, ports), before=facts)
    return made


def record_machine(
    goldens: Sequence[Golden], *, name: str, models: Mapping[str, ModelSpec], ports: CheckPorts
) -> RecordedReferences:
    """Return how far this machine moves the tokens of goldens, perhaps those of another one."""
    made = RecordedReferences(references=[], refused=[], unaffected={})
    facts = {golden.cell: golden.provenance for golden in goldens}
    _add(made, name, {}, _force(goldens, models, ports), before=facts)
    return made


def joined(new: Reference, before: Reference, *, keeps: Collection[str]) -> Reference:
    """Return a new reference with cells of an earlier one that was recorded alike.

    Args:
        new: what was measured.
        before: what is committed for this variant.
        keeps: the ids of cells that may stay.
    """
    if (before.change, before.measured_on) != (new.change, new.measured_on):
        return new
    kept = {cell_id: cell for cell_id, cell in before.cells.items() if cell_id in keeps}
    return replace(
        new,
        cells={**kept, **new.cells},
        provenance={**(before.provenance if kept else {}), **new.provenance},
    )


def _not_generated(one: _Forced) -> NotForced | None:
    """Return why the unchanged engine is no base for changes of it, or None."""
    if isinstance(one.found, MeasurementUnavailable):
        return _refusal(one.golden, one.found, variant=None)
    moved = sum(distance > 0 for distance in one.found.distances)
    if not moved:
        return None
    return NotForced(
        golden=one.golden,
        variant=None,
        reason=f"the unchanged engine no longer generates {moved} of its "
        f"{len(one.found.distances)} tokens",
        remedy=_NOT_NOW,
    )


def _refusal(golden: Golden, error: MeasurementUnavailable, *, variant: str | None) -> NotForced:
    return NotForced(golden=golden, variant=variant, reason=error.reason, remedy=error.remedy)


def _add(
    made: RecordedReferences,
    variant: str,
    change: Facts,
    forced: Iterable[_Forced],
    *,
    before: Mapping[Cell, Facts],
) -> None:
    by_profile: dict[str, list[_Forced]] = defaultdict(list)
    for one in forced:
        if isinstance(one.found, MeasurementUnavailable):
            made.refused.append(_refusal(one.golden, one.found, variant=variant))
        else:
            by_profile[one.golden.profile].append(one)
    for profile, some in by_profile.items():
        reference = Reference(
            variant=variant,
            profile=profile,
            measured_on=_only_profile(variant, some),
            tool_version=repro_gate.__version__,
            provenance=_provenance(some, before),
            change=change,
            cells={
                one.golden.cell.id: one.found
                for one in some
                if isinstance(one.found, CellReference)
            },
        )
        made.references.append(reference)


def _only_profile(variant: str, forced: Iterable[_Forced]) -> str:
    """Return the profile of the engines; raises `MeasurementUnavailable` for several."""
    first, *others = {one.profile: None for one in forced if one.profile is not None}
    if others:
        raise MeasurementUnavailable(
            f"{variant} is on engines of several profiles: {', '.join((first, *others))}",
            remedy="record those of one profile: --only 'MODEL--*'",
        )
    return first


def _provenance(forced: Iterable[_Forced], before: Mapping[Cell, Facts]) -> Facts:
    """Return the facts that changed; several values, of different models, are joined."""
    values: dict[str, dict[str, None]] = defaultdict(dict)
    for one in forced:
        for change in provenance_changes(before[one.golden.cell], one.facts):
            values[change.name][change.after or "none"] = None
    return {name: "; ".join(found) for name, found in values.items()}


def _force(
    goldens: Sequence[Golden], models: Mapping[str, ModelSpec], ports: CheckPorts
) -> Iterator[_Forced]:
    """Yield what each golden's model draws in the place of its tokens."""
    ports.progress.started((golden.cell, 1) for golden in goldens)
    for spec in {model.engine.name: model.engine for model in models.values()}.values():
        worker = EngineWorker(spec, starter=ports.starter, files=ports.files, clock=ports.clock)
        with closing(worker):
            for model in models.values():
                mine = [golden for golden in goldens if golden.cell.model == model.name]
                if model.engine.name == spec.name and mine:
                    yield from _force_model(worker, model, mine, ports)


def _force_model(
    worker: EngineWorker, model: ModelSpec, goldens: Sequence[Golden], ports: CheckPorts
) -> Iterator[_Forced]:
    try:
        profile = worker.describe().profile
        worker.load(model)
    except MeasurementUnavailable as error:
        for golden in goldens:
            ports.progress.skipped(golden.cell, runs=1)
            yield _Forced(golden=golden, found=error, facts={})
        return
    facts = worker.facts_of(model)
    prompts = _prompts(worker, model, goldens)
    by_cell = {golden.cell: golden for golden in goldens}
    requests: list[VerifyRequest] = []
    for golden in goldens:
        refused = _refused_prompt(golden, prompts[golden.cell.prompt])
        if refused is None:
            claimed = golden.generation
            requests.append(
                VerifyRequest.of(golden.cell, prompt=claimed.prompt, tokens=claimed.tokens)
            )
        else:
            ports.progress.skipped(golden.cell, runs=1)
            yield _Forced(golden=golden, found=refused, profile=profile, facts=facts)
    for done in worker.verify_all(model, requests):
        golden, value = by_cell[done.request.cell], done.outcome.value
        found = (
            value
            if isinstance(value, MeasurementUnavailable)
            else _measured(golden, value.verification)
        )
        ports.progress.ran(golden.cell, tokens=len(golden.generation.tokens))
        own = facts if golden.cell.chat is not None else facts_of_texts(facts)
        yield _Forced(golden=golden, found=found, profile=profile, facts=own)


def _prompts(
    worker: EngineWorker, model: ModelSpec, goldens: Sequence[Golden]
) -> Mapping[str, Generation | MeasurementUnavailable]:
    """Return a generation of one token after each prompt: it has the tokens of the prompt."""
    cells = {golden.cell.prompt: golden.cell for golden in goldens}
    runs = [
        CellRun(cell=replace(cell, max_tokens=1, stop=()), trace=False) for cell in cells.values()
    ]
    found: dict[str, Generation | MeasurementUnavailable] = {}
    for done in worker.generate_all(model, runs, is_wanted=lambda _: True, alone=False):
        value = done.outcome.value
        found[done.request.cell.prompt] = (
            value if isinstance(value, MeasurementUnavailable) else value.generation
        )
    return found


def _refused_prompt(
    golden: Golden, found: Generation | MeasurementUnavailable
) -> MeasurementUnavailable | None:
    if isinstance(found, MeasurementUnavailable):
        return found
    divergence = first_divergence(golden.generation, found)
    if divergence is None or divergence.place is Place.OUTPUT:
        return None
    what = "the rendered chat" if divergence.place is Place.TEMPLATE else "the prompt"
    return MeasurementUnavailable(
        f"{what} has other tokens than in the golden, so this is more than a change of rounding",
        remedy="name a variant that leaves the prompt as it is",
    )


def _measured(golden: Golden, verification: Verification) -> CellReference | MeasurementUnavailable:
    is_greedy = golden.cell.sampler.is_greedy
    distances = [clipped_distance(token, is_greedy=is_greedy) for token in verification]
    known = tuple(distance for distance in distances if distance is not None)
    if len(known) < len(distances):
        return MeasurementUnavailable(
            f"the engine gives no random number for {len(distances) - len(known)} tokens",
            remedy="a sampler whose draws the engine verifies, or temperature 0",
        )
    positions = positions_of(golden.generation, None, verification)
    found = forced_tokens(verification, positions, is_greedy=is_greedy)
    return CellReference(
        golden=claim_digest(golden),
        distances=tuple(map(_rounded, known)),
        kl_divergence=None
        if found.mean_kl_divergence is None
        else _rounded(found.mean_kl_divergence),
    )


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
