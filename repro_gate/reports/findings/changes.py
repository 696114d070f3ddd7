"""Change groups in words, and the command that accepts one."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from repro_gate.core.changes.groups import ChangeGroup, change_groups
from repro_gate.core.outcome import Outcome
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.golden import FactChange
from repro_gate.reports.findings.facts import by_effect
from repro_gate.reports.findings.logprobs import logprob_findings
from repro_gate.reports.findings.tokens import (
    Finding,
    config_option,
    is_acceptable,
    token_findings,
)
from repro_gate.reports.text import shell
from repro_gate.reports.text.escape import (
    Escaped,
    clipped,
    escape_change,
    format_change,
    log_line,
    one_line,
)
from repro_gate.reports.text.format import plural

_UPDATE = "repro-gate update-snapshots"
_INDENT = " " * len("cause 01234567  ")
_MAX_FACTS = 3
_MAX_FACT = 120
"""Characters of a changed fact in a line of several."""


def format_group(group: ChangeGroup) -> Escaped:
    """Return the number of cells and the kind of their change."""
    return one_line(f"{plural(len(group.cells), 'cell')}, {group.kind}")


def first_facts(group: ChangeGroup, count: int) -> tuple[Sequence[FactChange], int]:
    """Return the first changed facts by their effect, and the number of the rest."""
    facts = by_effect([*group.facts])
    return facts[:count], len(facts[count:]) + group.other_facts


def fact_lines(group: ChangeGroup) -> Iterator[Escaped]:
    """Yield the changed facts, those first that change results."""
    facts, more = first_facts(group, len(group.facts))
    for change in facts:
        yield format_change(escape_change(change))
    if more:
        yield one_line(f"and {plural(more, 'more fact')}")


def has_acceptable(group: ChangeGroup, report: GateReport) -> bool:
    """Return whether an update would record any cell of a group."""
    return any(is_acceptable(cell, report) for cell in group.cells)


def accept_command(group: ChangeGroup | None, report: GateReport, folder: Path) -> str:
    """Return the command that accepts the cells of a group, or all, from a report folder."""
    cause = [] if group is None else ["--cause", group.id]
    options = ["--from", str(folder), *cause]
    return shell.command(_UPDATE, [*config_option(report.repeat_with), *options])


def command_lines(groups: Iterable[ChangeGroup], report: GateReport, folder: Path) -> Iterator[str]:
    """Yield each group with its changed facts and the command that accepts it.

    Untrusted text is on lines of its own: some shells run what follows a `#`.
    """
    for group in groups:
        yield log_line(f"cause {group.id}  {format_group(group)}")
        facts, more = first_facts(group, _MAX_FACTS)
        for fact in facts:
            shown = clipped(format_change(escape_change(fact)), _MAX_FACT)
            yield f"{_INDENT}changed  {log_line(shown)}"
        if more:
            yield f"{_INDENT}changed  and {more} more"
        if has_acceptable(group, report):
            yield f"{_INDENT}accept   {accept_command(group, report, folder)}"
        else:
            yield f"{_INDENT}cannot be accepted"


def other_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield each finding that a review does not decide, with the command that does."""
    for finding in findings:
        what = f"{finding.word}  {finding.subject}: {finding.description.claim}"
        yield log_line(f"not decided here: {what}")
        if finding.command is not None:
            yield log_line(f"  {finding.command_label}: {finding.command}")


def other_findings(report: GateReport) -> tuple[Finding, ...]:
    """Return the findings that are no change of a cell of tokens, and so in no group."""
    changed = {cell.id for group in change_groups(report) for cell in group.cells}
    tokens = [
        finding
        for finding in token_findings(report)
        if not (finding.cells and finding.cells[0].id in changed)
    ]
    hosted = [
        finding
        for part in report.logprobs
        for finding in logprob_findings(part, report)
        if finding.outcome is not Outcome.PASSED
    ]
    return (*tokens, *hosted)
