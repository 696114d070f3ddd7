"""Change groups in words, with the commands that accept them."""

from dataclasses import replace
from pathlib import Path

from repro_gate.core.changes.groups import change_groups
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Drift
from repro_gate.reports.findings.changes import (
    accept_command,
    command_lines,
    fact_lines,
    format_group,
    other_findings,
    other_lines,
)
from tests.fakes.reports import OPTIONS, drifted, every_verdict, report_of
from tests.fakes.values import cell_of

FOLDER = Path("a folder")


def _changes(count: int) -> tuple[FactChange, ...]:
    names = [f"device.{number:02}" for number in range(count)]
    return tuple(FactChange(name=name, before="a\n", after="b") for name in names)


def test_a_group_has_its_number_of_cells_and_its_kind() -> None:
    """The facts that change results come first."""
    cell = drifted(cell_of("a"))
    assert isinstance(cell.verdict, Drift)
    changes = (*_changes(1), FactChange(name="model.sha256", before="a", after="b"))
    report = report_of(replace(cell, verdict=replace(cell.verdict, provenance=changes)))

    (group,) = change_groups(report)

    assert format_group(group) == "1 cell, drift: model"
    assert list(fact_lines(group)) == ["model.sha256: a -> b", "device.00: a\\n -> b"]


def test_more_facts_than_are_kept_are_counted() -> None:
    """The report has all of them."""
    cell = drifted(cell_of("a"))
    assert isinstance(cell.verdict, Drift)
    report = report_of(replace(cell, verdict=replace(cell.verdict, provenance=_changes(25))))

    (group,) = change_groups(report)

    assert list(fact_lines(group))[-1] == "and 5 more facts"
    lines = [line.strip() for line in command_lines([group], report, FOLDER)]
    assert lines[:-1] == [
        f"cause {group.id}  1 cell, drift: numeric",
        "changed  device.00: a\\n -> b",
        "changed  device.01: a\\n -> b",
        "changed  device.02: a\\n -> b",
        "changed  and 22 more",
    ]


def test_each_group_has_the_command_that_accepts_it() -> None:
    """With the matrix of the check, and no device: nothing is run."""
    report = replace(report_of(*every_verdict()), controls=())
    groups = {group.kind.partition(":")[0]: group for group in change_groups(report)}

    assert OPTIONS[:2] == ("--config", "other.toml")
    assert accept_command(groups["unrecorded"], report, FOLDER) == (
        "repro-gate update-snapshots --config other.toml --from 'a folder' --cause "
        + groups["unrecorded"].id
    )
    unrecorded, depends = groups["unrecorded"], groups["depends"]
    assert [line.strip() for line in command_lines([unrecorded, depends], report, FOLDER)] == [
        f"cause {unrecorded.id}  1 cell, unrecorded: there is no golden for this profile",
        f"accept   {accept_command(unrecorded, report, FOLDER)}",
        f"cause {depends.id}  1 cell, depends: concurrent-8",
        "cannot be accepted",
    ]


def test_untrusted_text_is_on_no_line_with_a_command() -> None:
    """Nor after a `#`, which some shells do not take for a comment."""
    cell = drifted(cell_of("a"))
    assert isinstance(cell.verdict, Drift)
    change = FactChange(name="setting.x", before="$(reboot)", after="; reboot")
    report = report_of(replace(cell, verdict=replace(cell.verdict, provenance=(change,))))
    report = replace(report, controls=())

    lines = list(command_lines(change_groups(report), report, FOLDER))

    assert [line.strip().partition(" ")[0] for line in lines if "reboot" in line] == ["changed"]


def test_what_a_review_does_not_decide_is_listed_with_its_command() -> None:
    """Orphans, controls, cells that were not measured, and log-probabilities."""
    report = report_of()

    lines = list(other_lines(other_findings(report)))

    words = [line.split()[3] for line in lines if line.startswith("not decided here: ")]
    assert {"orphaned", "inconclusive"} <= set(words)
    assert any("record-baseline" in line for line in lines)
    assert any(line.startswith("  remove it: repro-gate update-snapshots") for line in lines)
    assert not {"depends", "nondeterministic", "vacuous"} & set(words)
