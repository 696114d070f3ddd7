"""Turn observed outputs into goldens: list the changes, then apply them."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import assert_never

from repro_gate.checks.tokens.check import check_tokens
from repro_gate.checks.tokens.runner import CheckPorts
from repro_gate.core.matrix import Matrix, Plan
from repro_gate.core.report import CellReport, GateReport, Note
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.controls import is_affected
from repro_gate.core.tokens.generation import first_divergence
from repro_gate.core.tokens.golden import Facts, Golden, definition_changes
from repro_gate.core.tokens.judge import doubt
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
)
from repro_gate.errors import InputInvalid
from repro_gate.ports import GoldenReader, GoldenStore, ModelPins


class ChangeKind(StrEnum):
    """What recording does to one golden or baseline."""

    NEW = "new"
    UPDATED = "updated"
    """The cell is the same; its tokens differ, or its log-probabilities were drawn again."""
    EXTENDED = "extended"
    """Draws of another session are added to a baseline."""
    REDEFINED = "redefined"
    """The matrix defines the cell differently by now."""
    REPAIRED = "repaired"
    """The old file could not be read."""
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenChange:
    """One golden that an update writes or removes."""

    kind: ChangeKind
    profile: str
    cell_id: str
    before: Golden | None
    after: Golden | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Everything that an update would change, for review before it is applied."""

    changes: tuple[GoldenChange, ...]
    unchanged: int
    """How many goldens stay as they are; they are not rewritten."""
    pins: dict[str, str]
    """Digests of models to pin for the first time, or again."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self.changes and not self.pins


class LenientGoldenReader:
    """Treats a broken golden as missing: an update is what repairs it."""

    def __init__(self, goldens: GoldenReader) -> None:
        self._goldens = goldens

    def profiles(self) -> frozenset[str]:
        """Return the profiles that have any golden."""
        return self._goldens.profiles()

    def recorded(self, profile: str) -> frozenset[str]:
        """Return the ids of the cells that have a readable golden."""
        return frozenset(
            cell_id
            for cell_id in self._goldens.recorded(profile)
            if _read(self._goldens, profile, cell_id) is not None
        )

    def read(self, profile: str, cell_id: str) -> Golden:
        """Return a recorded golden."""
        return self._goldens.read(profile, cell_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Outputs that may become goldens, measured here or by another check."""

    goldens: Sequence[Golden] = ()
    profiles: frozenset[str] = frozenset()
    models: Mapping[str, Facts] = field(default_factory=dict[str, Facts])
    refused: Sequence[CellReport] = ()
    """The cells that must not become goldens."""
    notes: tuple[Note, ...] = ()
    report: GateReport | None = None
    """Of the measurement; None when nothing was measured here."""


def observe(plan: Plan, *, ports: CheckPorts, started: float, started_at: str) -> Observation:
    """Measure a plan alone on this machine; broken goldens do not stop it. See `check_tokens`."""
    lenient = replace(ports, goldens=LenientGoldenReader(ports.goldens), references=None)
    report = check_tokens(plan.alone, ports=lenient, started=started, started_at=started_at)
    return Observation(
        goldens=observed_goldens(report),
        profiles=frozenset(engine.profile for engine in report.engines),
        models=report.models,
        refused=refused(report),
        notes=report.notes,
        report=report,
    )


def observed_elsewhere(
    goldens: Iterable[Golden], report: GateReport, *, cells: Collection[str]
) -> Observation:
    """Return what another check observed of these cells, given by id.

    Args:
        goldens: the ones that it wrote; those that it matched are in its report, without traces.
        report: its report.
        cells: the wanted cells.
    """
    written = {golden.cell.id: golden for golden in goldens}
    matching = (cell for cell in report.cells if isinstance(cell.verdict, Match | Depends))
    observed = {golden.cell.id: golden for golden in _goldens_of(report, matching)} | written
    wanted = [golden for cell_id, golden in observed.items() if cell_id in cells]
    return Observation(
        goldens=wanted,
        profiles=frozenset(golden.profile for golden in wanted),
        models={golden.cell.model: report.models[golden.cell.model] for golden in wanted},
    )


def observed_goldens(report: GateReport) -> list[Golden]:
    """Return the outputs of a check that may become goldens."""
    return _goldens_of(report, _judged_as_goldens(report))


def changed_goldens(report: GateReport) -> list[Golden]:
    """Return the outputs of a check that may become goldens and match none."""
    judged = _judged_as_goldens(report)
    changed = (cell for cell in judged if not isinstance(cell.verdict, Match | Depends))
    return _goldens_of(report, changed)


def _goldens_of(report: GateReport, cells: Iterable[CellReport]) -> list[Golden]:
    shown = _shown_factors(report)
    return [
        Golden(
            cell=cell.cell,
            profile=cell.profile,
            generation=cell.generation,
            provenance=report.provenances[cell.provenance],
        )
        for cell in cells
        if cell.generation and cell.profile and cell.provenance is not None
        if _may_be_recorded(cell) and shown[cell.cell.model].issuperset(_factors_of(cell.cell))
    ]


def refused(report: GateReport) -> list[CellReport]:
    """Return the cells that must not become goldens: unmeasured, unstable or vacuous."""
    return [cell for cell in _judged_as_goldens(report) if not _may_be_recorded(cell)]


def propose(
    observed: Sequence[Golden],
    *,
    goldens: GoldenReader,
    digests: dict[str, str],
    orphans: Iterable[tuple[str, str]] = (),
) -> Proposal:
    """Return what recording `observed` would change.

    Args:
        observed: the new goldens.
        goldens: the present ones.
        digests: the sha256 of models that are not pinned yet.
        orphans: (profile, cell id) of goldens to remove.
    """
    recorded = {profile: goldens.recorded(profile) for profile in {g.profile for g in observed}}
    changes = [
        _change(new, goldens, known=new.cell.id in recorded[new.profile]) for new in observed
    ]
    written = [change for change in changes if change is not None]
    removed = [
        GoldenChange(
            kind=ChangeKind.REMOVED,
            profile=profile,
            cell_id=cell_id,
            before=_read(goldens, profile, cell_id),
            after=None,
        )
        for profile, cell_id in orphans
    ]
    return Proposal(
        changes=(*written, *removed), unchanged=len(changes) - len(written), pins=digests
    )


def orphans_of(
    recorded: Callable[[str], frozenset[str]],
    folders: Iterable[str],
    *,
    claimed: Collection[str],
    only: str | None = None,
) -> list[tuple[str, str]]:
    """Return (folder, cell id) of every golden or baseline that no cell claims.

    Args:
        recorded: gives the ids of the cells with a file in a folder.
        folders: the profiles of goldens, or the sources of baselines.
        claimed: the ids of all cells of the matrix.
        only: a pattern that an orphan has to match.
    """
    return [
        (folder, cell_id)
        for folder in sorted(set(folders))
        for cell_id in sorted(recorded(folder).difference(claimed))
        if only is None or fnmatchcase(cell_id, only)
    ]


def unpinned(
    models: Mapping[str, Facts],
    *,
    recorded: Iterable[str],
    matrix: Matrix,
    pinned: Mapping[str, str],
) -> dict[str, str]:
    """Return the digests of the files to pin: those that neither the matrix nor a pin has.

    Args:
        models: the facts of each loaded model.
        recorded: the models with something to record; no other is pinned.
        matrix: may pin models itself.
        pinned: the pins that stay.
    """
    wanted = set(recorded)
    return {
        file.key: facts[file.sha256_fact]
        for name, facts in models.items()
        if name in matrix.models and name in wanted
        for file in matrix.models[name].files
        if file.sha256 is None and file.key not in pinned and file.sha256_fact in facts
    }


def apply(proposal: Proposal, *, store: GoldenStore, pins: ModelPins) -> None:
    """Write and remove goldens, each file atomically."""
    # First, so that a digest that cannot be pinned stops the update before any change.
    if proposal.pins:
        pins.pin(proposal.pins)
    for change in proposal.changes:
        if change.after is None:
            store.remove(change.profile, change.cell_id)
        else:
            store.write(change.after)


def _judged_as_goldens(report: GateReport) -> Iterator[CellReport]:
    """Yield the cells, with drift as vacuous where the controls of the model failed.

    The drift itself is a finding, but as a golden such tokens could not fail a check.
    """
    for cell in report.cells:
        found = None
        if isinstance(cell.verdict, Drift):
            found = doubt(cell.cell, (c for c in report.controls if c.model == cell.cell.model))
        yield cell if found is None else replace(cell, verdict=found)


def _shown_factors(report: GateReport) -> Mapping[str, set[Factor]]:
    """Return the factors for which a control of a model was run."""
    shown: dict[str, set[Factor]] = defaultdict(set)
    for control in report.controls:
        shown[control.model].add(control.contrast.factor)
    return shown


def _factors_of(cell: Cell) -> set[Factor]:
    return {factor for factor in Factor if is_affected(factor, cell)}


def _may_be_recorded(cell: CellReport) -> bool:
    if cell.unfinished is not None:
        return False
    match cell.verdict:
        case Match() | Depends() | Drift() | Unrecorded():
            return True
        case Nondeterministic() | Vacuous() | Inconclusive():
            return False
        case _:
            assert_never(cell.verdict)


def _change(new: Golden, goldens: GoldenReader, *, known: bool) -> GoldenChange | None:
    before = _read(goldens, new.profile, new.cell.id) if known else None
    kind = _kind(before, new, known=known)
    if kind is None:
        return None
    return GoldenChange(
        kind=kind, profile=new.profile, cell_id=new.cell.id, before=before, after=new
    )


def _kind(before: Golden | None, new: Golden, *, known: bool) -> ChangeKind | None:
    if before is None:
        return ChangeKind.REPAIRED if known else ChangeKind.NEW
    if definition_changes(before.cell, new.cell):
        return ChangeKind.REDEFINED
    lacks_logits = before.generation.lacks_logits_of(new.generation)
    if lacks_logits or first_divergence(before.generation, new.generation):
        return ChangeKind.UPDATED
    return None


def _read(goldens: GoldenReader, profile: str, cell_id: str) -> Golden | None:
    try:
        return goldens.read(profile, cell_id)
    except InputInvalid:
        return None
