"""What the report folder of a check offers to record, as far as this checkout allows it."""

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from repro_gate.adapters.files.observed import Observed, read_observed
from repro_gate.adapters.files.results import REPORT
from repro_gate.checks.tokens.record import Observation, observed_elsewhere, refused, unpinned
from repro_gate.cli.wiring import Workspace
from repro_gate.core.changes.groups import ChangeGroup, change_groups
from repro_gate.core.engines import ModelSpec
from repro_gate.core.matrix import Matrix
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.golden import Facts
from repro_gate.errors import InputInvalid, UsageInvalid
from repro_gate.reports.text.escape import one_line

_MAX_IDS = 20
"""Causes that a message lists."""


def observation_from(workspace: Workspace, source: Path, *, cause: str | None) -> Observation:
    """Return what another check observed of the selected cells.

    Args:
        workspace: its selection narrows the cells.
        source: the report folder of the check.
        cause: the id of a change group, whose refused cells are returned too; None for all cells.

    Raises:
        InputInvalid: the folder is not consistent, or of another matrix or model file.
        UsageInvalid: no change of the report has this cause.
    """
    observed = read_observed(source, matrix=workspace.matrix)
    group = None if cause is None else _group_of(observed.report, cause)
    cells = recordable(workspace, observed)
    if group is None:
        return observation_of(workspace, observed, source, cells=cells)
    in_group = {cell.id for cell in group.cells}
    observation = observation_of(workspace, observed, source, cells=cells & in_group)
    return replace(
        observation,
        refused=[cell for cell in refused(observed.report) if cell.id in cells & in_group],
    )


def recordable(workspace: Workspace, observed: Observed) -> set[str]:
    """Return the ids of the selected cells whose goldens are those of their own profile."""
    # The other check has chosen the suites; those of this command only narrow them.
    selection = workspace.session.selection
    suites = selection.suites or tuple(workspace.matrix.suites)
    session = replace(workspace.session, selection=replace(selection, suites=suites))
    elsewhere = profiles_elsewhere(workspace.matrix, observed.report)
    return {cell.id for cell in session.plan().tokens.cells} - elsewhere.keys()


def profiles_elsewhere(matrix: Matrix, report: GateReport) -> dict[str, str]:
    """Return the profiles that cells are compared with besides their own, by the id of the cell."""
    profiles = ((cell.id, profile_of(matrix, cell.suite)) for cell in report.cells)
    return {cell_id: profile for cell_id, profile in profiles if profile is not None}


def observation_of(
    workspace: Workspace, observed: Observed, source: Path, *, cells: Collection[str]
) -> Observation:
    """Return what was observed of some cells; raises `InputInvalid` for other model files."""
    observation = observed_elsewhere(observed.goldens, observed.report, cells=cells)
    for name, facts in observation.models.items():
        _require_files(workspace, workspace.matrix.models[name], facts, source / REPORT)
    return observation


def new_pins(workspace: Workspace, observation: Observation) -> dict[str, str]:
    """Return the digests to pin of the models that are recorded for the first time."""
    return unpinned(
        observation.models,
        recorded=[golden.cell.model for golden in observation.goldens],
        matrix=workspace.matrix,
        pinned=workspace.models.pins,
    )


def profile_of(matrix: Matrix, suite: str) -> str | None:
    """Return the profile that a suite is against; None for that of the machine."""
    found = matrix.suites.get(suite)
    return None if found is None else found.against


def _group_of(report: GateReport, cause: str) -> ChangeGroup:
    groups = change_groups(report)
    for group in groups:
        if group.id == cause:
            return group
    ids = [f"{group.id} ({one_line(group.kind)})" for group in groups[:_MAX_IDS]]
    more = [f"{len(groups) - _MAX_IDS} more"] if len(groups) > _MAX_IDS else []
    known = ", ".join([*ids, *more]) or "no changes"
    raise UsageInvalid(f"no change has the cause {one_line(cause)!r}; the report has: {known}")


def _require_files(workspace: Workspace, model: ModelSpec, facts: Facts, report: Path) -> None:
    """Raise `InputInvalid` unless another check used the pinned files of the model."""
    for file in model.files:
        pinned = workspace.models.expected_sha256(file)
        sha256 = facts.get(file.sha256_fact, "")
        if not re.fullmatch(pinned or "[0-9a-f]{64}", sha256):
            raise InputInvalid.at(
                report,
                f"result.report.models.{file.name}",
                expected=f"the sha256 {pinned}" if pinned else "a SHA-256",
                found=f"{one_line(sha256) or 'none'}; --repin {file.name} accepts another file",
            )
