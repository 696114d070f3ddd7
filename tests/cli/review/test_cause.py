"""`update-snapshots --from DIR --cause ID`: accept only the changes that share a cause."""

import re
from pathlib import Path

from repro_gate.adapters.files.results import read_report, require_finished
from repro_gate.core.changes.groups import change_groups
from tests.cli.workspaces import Workspace, contents_of


def _causes(workspace: Workspace) -> dict[str, str]:
    """Return the id of each group of changes by its verdict."""
    result = require_finished(read_report(workspace.output), workspace.output)
    return {group.kind.partition(":")[0]: group.id for group in change_groups(result.report)}


def _changed(workspace: Workspace, before: dict[str, bytes]) -> set[str]:
    after = contents_of(workspace.snapshots)
    return {Path(name).stem for name in after if after[name] != before.get(name)}


def test_only_the_cells_of_a_cause_are_recorded(checked: Workspace) -> None:
    """What else the check observed stays as it is."""
    before = contents_of(checked.snapshots)

    ran = checked.record("--from", ".repro-gate", "--cause", _causes(checked)["drift"])

    assert (ran.code, ran.out.splitlines()[-2]) == (0, "2 updated; 0 unchanged, 0 refused")
    assert _changed(checked, before) == {"tiny--fox--seed1", "tiny--fox--seed2"}


def test_only_narrows_a_cause(checked: Workspace) -> None:
    """Both have to select a cell."""
    before = contents_of(checked.snapshots)
    cause = _causes(checked)["drift"]

    ran = checked.record("--from", ".repro-gate", "--cause", cause, "--only", "*--seed2")

    assert (ran.code, _changed(checked, before)) == (0, {"tiny--fox--seed2"})


def test_a_cause_that_cannot_be_accepted_is_refused(checked: Workspace) -> None:
    """The reason is printed, and nothing is written."""
    before = contents_of(checked.snapshots)

    ran = checked.record("--from", ".repro-gate", "--cause", _causes(checked)["nondeterministic"])

    assert (ran.code, _changed(checked, before)) == (10, set())
    assert "refused    tiny--haiku--seed1: nondeterministic: " in ran.out
    assert "nothing was recorded; 0 unchanged, 1 refused" in ran.out


def test_an_unknown_cause_lists_those_of_the_report(checked: Workspace) -> None:
    """It may be that of an earlier check."""
    ran = checked.record("--from", ".repro-gate", "--cause", "\x1b[31m")

    assert ran.code == 2
    drift, unstable = _causes(checked)["drift"], _causes(checked)["nondeterministic"]
    assert re.fullmatch(
        r"repro-gate: no change has the cause '\\+x1b\[31m'; the report has: "
        rf"{drift} \(drift: [a-z]+\), {unstable} \(nondeterministic: [a-z]+\)\n",
        ran.err,
    )


def test_a_cause_without_a_report_is_refused(checked: Workspace) -> None:
    """What is measured now has no causes yet."""
    ran = checked.record("--cause", "0" * 8)

    assert ran.code == 2
    assert ran.err.startswith("repro-gate: --cause needs --from")
