"""A report folder under review: its changes, and what a decision writes."""

from collections.abc import Collection, Mapping
from pathlib import Path

from repro_gate.adapters.files.atomic import write_atomically
from repro_gate.adapters.files.golden_writer import SyrupyGoldens
from repro_gate.adapters.files.observed import read_observed
from repro_gate.adapters.files.snapshots import GOLDENS, read_golden_bytes
from repro_gate.adapters.logs.decisions import ReviewDecisions
from repro_gate.checks.tokens.record import apply, propose, refused
from repro_gate.cli.review.observed import new_pins, observation_of, profiles_elsewhere
from repro_gate.cli.update import refusal_of
from repro_gate.cli.wiring import Workspace
from repro_gate.core.cause import diagnose
from repro_gate.core.changes.groups import change_groups
from repro_gate.core.changes.review import Change, Decision, Order, ReviewState, Step
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.golden import Facts, Golden
from repro_gate.core.tokens.verdicts import Depends
from repro_gate.errors import InputInvalid
from repro_gate.reports.explain import WIDTH, render_explanation
from repro_gate.reports.findings.wording import describe
from repro_gate.reports.review import ShownChange

_TOO_LARGE = "its output is not in the report folder, such as one that is too large to be read"


class ReviewedFolder:
    """The report folder of a check, against the goldens of this checkout."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        """Read the folder; raises `InputInvalid` if it is not consistent or of another matrix."""
        self._workspace, self._folder = workspace, folder
        self._decisions = ReviewDecisions(folder)
        self._observed = read_observed(folder, matrix=workspace.matrix)
        self.groups = change_groups(self.report)
        self._of_cell = {cell.id: group for group in self.groups for cell in group.cells}
        self._before: dict[str, bytes | None] = {}
        """What the goldens accepted in this review have replaced, by the id of the cell."""
        self.written: dict[str, Golden] = {}
        """The goldens accepted in this review, by the id of the cell."""

    @property
    def report(self) -> GateReport:
        """The report of the check."""
        return self._observed.report

    def decisions(self) -> Mapping[str, Decision] | None:
        """Return those of earlier reviews; None if they are on another report."""
        return self._decisions.read()

    def changes(self, order: Order) -> tuple[Change, ...]:
        """Return the changes that no golden has."""
        refusals, recorded = self._refusals(), self._recorded()
        grouped = [cell for group in self.groups for cell in group.cells]
        cells = grouped if order is Order.CAUSE else self.report.cells
        # A report may have a cell of two suites twice, and it has one golden.
        ids = dict.fromkeys(cell.id for cell in cells)
        return tuple(
            Change(cell_id=each, cause=self._of_cell[each].id, refusal=refusals.get(each))
            for each in ids
            if each in self._of_cell and each not in recorded
        )

    def shown(self, state: ReviewState, *, width: int) -> ShownChange:
        """Return what is known of the change that is shown."""
        cell_id = state.change.cell_id
        group = self._of_cell[cell_id]
        cell = next(each for each in group.cells if each.id == cell_id)
        committed = self._committed(cell)
        facts: Facts = {} if cell.provenance is None else self.report.provenances[cell.provenance]
        grade = self.report.grade_of(cell)
        found = diagnose(cell, facts=facts, committed=committed, grade=grade)
        return ShownChange(
            cell=cell,
            group=group,
            golden=str(self._golden_file(cell)),
            has_golden=committed is not None,
            explanation=render_explanation(
                self.report, cell, found, committed, width=min(WIDTH, width)
            ),
        )

    def write(self, moved: Step) -> None:
        """Write what was decided: goldens at once, and the other decisions beside the report.

        Raises:
            InputInvalid: a golden cannot be written, such as through a link.
            OSError: a file cannot be written.
        """
        if moved.decision is None:
            return
        if moved.decision is Decision.ACCEPTED:
            self._accept(moved.cell_ids)
        else:
            self._take_back(moved.cell_ids)
        self._decisions.write(moved.state.decisions)

    def _accept(self, ids: Collection[str]) -> None:
        workspace = self._workspace
        observation = observation_of(workspace, self._observed, self._folder, cells=ids)
        pinned = workspace.pins.pinned()
        pins = {
            name: digest
            for name, digest in new_pins(workspace, observation).items()
            if pinned.get(name) != digest
        }
        proposal = propose(observation.goldens, goldens=workspace.goldens, digests=pins)
        for change in proposal.changes:
            if change.after is not None:
                file = workspace.goldens.file(change.profile, change.cell_id)
                self._before[change.cell_id] = read_golden_bytes(file) if file.exists() else None
                self.written[change.cell_id] = change.after
        apply(proposal, store=SyrupyGoldens(workspace.snapshots / GOLDENS), pins=workspace.pins)

    def _take_back(self, ids: Collection[str]) -> None:
        for cell_id in ids:
            golden = self.written.pop(cell_id, None)
            if golden is None:
                continue
            before = self._before.pop(cell_id)
            if before is None:
                self._workspace.goldens.remove(golden.profile, cell_id)
            else:
                write_atomically(self._workspace.goldens.file(golden.profile, cell_id), before)

    def _recorded(self) -> set[str]:
        """Return the cells that have a golden with what was observed."""
        goldens = self._observed.goldens
        proposal = propose(goldens, goldens=self._workspace.goldens, digests={})
        return {golden.cell.id for golden in goldens} - {
            change.cell_id for change in proposal.changes
        }

    def _refusals(self) -> Mapping[str, str]:
        """Return why cells cannot be accepted, by the id of the cell."""
        observed, workspace = self._observed, self._workspace
        kept = {golden.cell.id for golden in observed.goldens}
        elsewhere = profiles_elsewhere(workspace.matrix, observed.report)
        judged = {cell.id: cell for cell in refused(observed.report)}
        models = self._refused_models()
        reasons: dict[str, str] = {}
        for cell in (cell for group in self.groups for cell in group.cells):
            if cell.id in judged:
                reasons[cell.id] = refusal_of(judged[cell.id]).reason
            elif isinstance(cell.verdict, Depends):
                reasons[cell.id] = f"{cell.verdict.word}: {describe(cell).claim}"
            elif cell.id in elsewhere:
                reasons[cell.id] = f"its golden is recorded on the profile {elsewhere[cell.id]}"
            elif cell.id not in kept:
                reasons[cell.id] = _TOO_LARGE
            elif cell.cell.model in models:
                reasons[cell.id] = models[cell.cell.model]
        return reasons

    def _refused_models(self) -> Mapping[str, str]:
        """Return why the files of models are not the pinned ones, by model."""
        found: dict[str, str] = {}
        for model, cell_id in {
            each.cell.model: each.cell.id for each in self._observed.goldens
        }.items():
            try:
                observation_of(self._workspace, self._observed, self._folder, cells={cell_id})
            except InputInvalid as error:
                found[model] = str(error)
        return found

    def _golden_file(self, cell: CellReport) -> Path:
        profile = cell.golden_profile or cell.profile or ""
        return self._workspace.goldens.file(profile, cell.id)

    def _committed(self, cell: CellReport) -> Golden | None:
        """Return the golden of a cell; None without a readable one."""
        goldens, compared = self._workspace.goldens, cell.golden_profile
        if compared is None or cell.id not in goldens.recorded(compared):
            return None
        try:
            return goldens.read(compared, cell.id)
        except InputInvalid:
            # Accepting the change is what repairs it.
            return None
