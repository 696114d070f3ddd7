"""`repro-gate record-reference`."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Console

from repro_gate.adapters.files.atomic import sweep
from repro_gate.adapters.matrix.engines import require_variants
from repro_gate.checks.tokens.record import ChangeKind
from repro_gate.checks.tokens.references import (
    NotForced,
    RecordedReferences,
    joined,
    record_machine,
    record_references,
)
from repro_gate.cli import wiring
from repro_gate.cli.session import Session, describe_engine, engine_specs
from repro_gate.cli.terminal.console import is_confirmed, print_line, refuse_under_ci
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.cli.update import (
    Refusal,
    exit_code_of,
    refusal_lines,
    summary_line,
    written_line,
)
from repro_gate.core.guards import is_name
from repro_gate.core.matrix import Plan, Variant
from repro_gate.core.outcome import ExitCode
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.golden import Golden, definition_changes
from repro_gate.core.tokens.reference import CellReference, Reference
from repro_gate.errors import InputInvalid, UsageInvalid
from repro_gate.reports.text import escape
from repro_gate.reports.text.format import percent

_COLUMNS = "{kind:<10} {name:<{width}} {cells:>6} {explained:>10} {distance:>9} {nats:>9}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOptions:
    """The options of `record-reference`."""

    variants: tuple[str, ...]
    """Empty for all of the matrix."""
    machine: str | None
    """Under this name the machine itself is the change."""
    profile: str | None
    """Of the goldens; None for that of this machine, or the one that a suite is against."""
    yes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A reference to write, or one that stays as it is."""

    kind: ChangeKind | None
    """None if it stays."""
    reference: Reference


def run_record_reference(session: Session, options: ReferenceOptions) -> ExitCode:
    """Force the goldens, show the distances, ask, write them, and return the exit code."""
    refuse_under_ci(os.environ, what="references")
    variants = _variants(session, options)
    plan = session.plan().tokens
    if not plan.cells:
        known = ", ".join(session.matrix.suites) or "none"
        raise UsageInvalid(f"no suite of tokens is selected; the matrix has: {known}")
    workspace = wiring.workspace_for(session)
    with wiring.update_lock(workspace):
        sweep(workspace.snapshots, trees=wiring.SNAPSHOT_FOLDERS)
        goldens, refusals = _goldens(workspace, plan, options)
        with shown_progress(Console(stderr=True), quiet=False, noun="cells") as progress:
            ports = wiring.ports_for_check(workspace, progress=progress)
            made = (
                record_references(goldens, models=plan.models, variants=variants, ports=ports)
                if options.machine is None
                else record_machine(goldens, name=options.machine, models=plan.models, ports=ports)
            )
        return _accept(workspace, made, refusals, options)


def _variants(session: Session, options: ReferenceOptions) -> list[Variant]:
    """Return the variants to record; raises `UsageInvalid` or `InputInvalid`."""
    known = session.matrix.variants
    if options.machine is not None:
        if options.variants:
            raise UsageInvalid(
                "--as and --variant exclude each other: with --as, this machine is the change"
            )
        if not is_name(options.machine) or options.machine in known:
            raise UsageInvalid(
                "--as is a name of lower-case letters and digits that no variant of the matrix "
                f"has, not {options.machine!r}"
            )
        return []
    if options.profile is not None:
        raise UsageInvalid(
            "--profile needs --as NAME: the goldens of another profile are moved by the machine"
        )
    for name in options.variants:
        if name not in known:
            raise UsageInvalid(
                f"there is no variant {name!r} in the matrix; it has: {', '.join(known) or 'none'}"
            )
    if not known:
        raise UsageInvalid(
            "the matrix names no harmless change: add [variants.NAME], or give --as NAME to record "
            "this machine"
        )
    variants = [known[name] for name in dict.fromkeys(options.variants or known)]
    require_variants(session.file, session.matrix, variants)
    return variants


def _goldens(
    workspace: wiring.Workspace, plan: Plan, options: ReferenceOptions
) -> tuple[list[Golden], list[Refusal]]:
    """Return the goldens to force, and the cells without one."""
    engines = workspace.session.engines
    specs = engine_specs(plan.models.values())
    profiles = {spec.name: describe_engine(engines, spec).profile for spec in specs}
    goldens: list[Golden] = []
    refusals: list[Refusal] = []
    for cell in plan.cells:
        own = profiles[plan.model_of(cell).engine.name]
        profile = options.profile or plan.suites[cell].against or own
        if options.machine is None and profile != own:
            raise UsageInvalid(
                f"the suite {plan.suites[cell].name} is against {profile}, and this machine is "
                f"{own}: give --as NAME to record it as a change"
            )
        found = _golden(workspace, cell, profile)
        if isinstance(found, Golden):
            goldens.append(found)
        else:
            refusals.append(found)
    return goldens, refusals


def _golden(workspace: wiring.Workspace, cell: Cell, profile: str) -> Golden | Refusal:
    if cell.id not in workspace.goldens.recorded(profile):
        reason = f"there is no golden for the profile {profile}"
    else:
        golden = workspace.goldens.read(profile, cell.id)
        if not definition_changes(golden.cell, cell):
            return golden
        reason = "the golden is for another definition of the cell"
    remedy = "repro-gate update-snapshots on a machine of that profile"
    return Refusal(cell_id=cell.id, reason=reason, remedy=remedy, is_finding=False)


def _accept(
    workspace: wiring.Workspace,
    made: RecordedReferences,
    refusals: Sequence[Refusal],
    options: ReferenceOptions,
) -> ExitCode:
    """Show the references, ask, write them, and return the exit code."""
    refused = [*refusals, *map(_refusal, made.refused)]
    changes = [_change(workspace, reference) for reference in made.references]
    written = [change for change in changes if change.kind is not None]
    for line in (
        *_table(changes),
        *(line for change in changes for line in _details(change.reference)),
        *_unaffected_lines(made),
        *refusal_lines(refused),
        summary_line(
            [change.kind for change in changes if change.kind is not None],
            unchanged=len(changes) - len(written),
            refused=len(refused),
        ),
    ):
        print_line(line)
    if written:
        if not is_confirmed("Write these references?", yes=options.yes):
            return ExitCode.INCONCLUSIVE
        for change in written:
            workspace.references.write(change.reference)
        print_line(written_line(workspace.snapshots, refused=len(refused)))
    return exit_code_of(refused)


def _change(workspace: wiring.Workspace, new: Reference) -> _Change:
    files = workspace.references
    if new.variant not in files.recorded(new.profile):
        return _Change(kind=ChangeKind.NEW, reference=new)
    try:
        before = files.of(new.profile, new.variant)
    except InputInvalid:
        return _Change(kind=ChangeKind.REPAIRED, reference=new)
    whole = joined(new, before, keeps=_current(workspace, before))
    is_same = (before.change, before.measured_on, before.cells) == (
        whole.change,
        whole.measured_on,
        whole.cells,
    )
    return _Change(kind=None if is_same else ChangeKind.UPDATED, reference=whole)


def _current(workspace: wiring.Workspace, reference: Reference) -> Collection[str]:
    """Return the cells of a reference whose goldens are still those that it was recorded with."""
    claimed = {cell.id for cell in workspace.matrix.cells()}
    recorded = workspace.goldens.recorded(reference.profile) & claimed
    return [
        cell_id
        for cell_id, cell in reference.cells.items()
        if cell_id in recorded and cell.is_of(workspace.goldens.read(reference.profile, cell_id))
    ]


def _table(changes: Sequence[_Change]) -> Iterator[str]:
    """Yield a line for each reference and model."""
    rows = [
        (change, model, cells)
        for change in changes
        for model, cells in _by_model(change.reference.cells.items())
    ]
    names = [f"{change.reference.variant} {model}" for change, model, _ in rows]
    if not rows:
        return
    width = max(map(len, names))
    yield _COLUMNS.format(
        kind="",
        name="",
        width=width,
        cells="cells",
        explained="explained",
        distance="distance",
        nats="KL, nats",
    )
    for name, (change, _, cells) in zip(names, rows, strict=True):
        known = [cell.kl_divergence for cell in cells if cell.kl_divergence is not None]
        yield _COLUMNS.format(
            kind="unchanged" if change.kind is None else change.kind.value,
            name=name,
            width=width,
            cells=len(cells),
            explained=percent(_explained(cells)),
            distance=f"{fmean(cell.mean_distance for cell in cells):.4f}",
            nats=f"{fmean(known):.4f}" if known else "-",
        )


def _by_model(
    cells: Iterable[tuple[str, CellReference]],
) -> Iterator[tuple[str, list[CellReference]]]:
    # Cell ids start with the name of the model.
    found: dict[str, list[CellReference]] = {}
    for cell_id, cell in cells:
        found.setdefault(cell_id.partition("--")[0], []).append(cell)
    yield from found.items()


def _explained(cells: Sequence[CellReference]) -> float:
    distances = [distance for cell in cells for distance in cell.distances]
    return sum(distance == 0 for distance in distances) / len(distances)


def _details(reference: Reference) -> Iterator[str]:
    """Yield where a reference was measured, and what was not as in the goldens."""
    where = f"{reference.variant}: {reference.profile}"
    if reference.measured_on != reference.profile:
        where = f"{where}, measured on {reference.measured_on}"
    yield where
    if not any(distance for cell in reference.cells.values() for distance in cell.distances):
        yield (
            "           nothing moved: beside it alone, any change of the tokens is beyond rounding"
        )
    if not reference.change and any(name.startswith("setting.") for name in reference.provenance):
        yield "           settings are not those of the goldens: this calls them harmless too"
    facts = [escape.one_line(f"{name} = {value}") for name, value in reference.provenance.items()]
    for _, line in escape.limited("", facts):
        yield f"           {line}"


def _unaffected_lines(made: RecordedReferences) -> Iterator[str]:
    for variant, models in made.unaffected.items():
        if models:
            yield f"note       {variant} changes nothing for {', '.join(models)}: left out"


def _refusal(one: NotForced) -> Refusal:
    where = "" if one.variant is None else f"{one.variant}: "
    return Refusal(
        cell_id=one.golden.cell.id,
        reason=f"{where}{one.reason}",
        remedy=one.remedy,
        is_finding=False,
    )
