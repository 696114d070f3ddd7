"""Findings and notes in Markdown."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from repro_gate.core.report import GateReport
from repro_gate.core.tokens.golden import FactChange
from repro_gate.reports.findings.divergence import Explanation, token_diff
from repro_gate.reports.findings.logprobs import logprob_findings
from repro_gate.reports.findings.notes import Note
from repro_gate.reports.findings.tokens import (
    Finding,
    explain_command,
    grade_findings,
    token_findings,
)
from repro_gate.reports.text.markdown import Block, code, fence, table

ChangesTable: TypeAlias = Callable[[str, Sequence[FactChange]], Block]
"""Makes a table of what changed since a golden or a baseline was recorded."""


def finding_blocks(report: GateReport) -> Iterator[Block]:
    """Yield a section for each finding."""
    hosted = (finding for part in report.logprobs for finding in logprob_findings(part, report))
    found = [*grade_findings(report), *token_findings(report), *hosted]
    if found:
        yield ["## Findings"]
        yield from _explaining(report)
    for finding in found:
        yield from _finding(finding)


def _explaining(report: GateReport) -> Iterator[Block]:
    command = explain_command(report)
    if command is not None:
        yield [f"{code(command)} shows all that is known of a divergence."]


def note_blocks(notes: Iterable[Note]) -> Iterator[Block]:
    """Yield a paragraph and the lines of each note."""
    for note in notes:
        yield [f"**Note**: {note.claim}."]
        yield figure_block(note.lines)


def figure_block(lines: Sequence[tuple[str, str]]) -> Block:
    """Return labelled lines as an aligned block."""
    width = max((len(label) for label, _ in lines), default=0)
    return fence([f"{label:<{width}}  {text}" for label, text in lines], "text") if lines else ()


def changes_since(finding: Finding, table_of: ChangesTable) -> Iterator[Block]:
    """Yield what changed since a golden or a baseline was recorded."""
    changes, explanation = finding.description.suspects, finding.explanation
    if changes:
        yield [f"Changed since the {finding.recorded} was recorded:"]
        yield table_of(finding.recorded, changes)
    elif explanation is not None and explanation.expected_by == "golden":
        yield ["The provenance has not changed since the golden was recorded."]


def _finding(finding: Finding) -> Iterator[Block]:
    description = finding.description
    subject = finding.subject if finding.listed else code(finding.subject)
    yield [f"### {finding.word}: {subject}"]
    yield [description.sentence]
    if description.reason is not None:
        yield [f"Reason: {code(description.reason)}"]
    if description.grade is not None:
        yield [f"Grade: {description.grade}."]
    if finding.former is not None:
        yield [f"Tokens: {finding.former}."]
    yield [f"- {code(cell_id)}" for cell_id in finding.listed]
    yield figure_block(finding.modes)
    if finding.explanation is not None:
        yield fence(_diff(finding.explanation), "diff")
    yield figure_block(finding.lines)
    yield from changes_since(finding, _changed_table)
    yield [f"What to do: {description.advice}"]
    if description.remedy is not None:
        yield [f"Remedy: {code(description.remedy)}"]
    if finding.command is not None:
        yield fence([finding.command], "sh")


def _diff(explanation: Explanation) -> Iterator[str]:
    yield f"--- {explanation.expected_by}"
    yield f"+++ {explanation.observed_by}"
    yield from token_diff(explanation)


def _changed_table(recorded: str, changes: Sequence[FactChange]) -> Block:
    return table(
        ["fact", recorded, "now"],
        [[code(change.name), *map(_fact, (change.before, change.after))] for change in changes],
    )


def _fact(value: str | None) -> str:
    return "(not reported)" if value is None else code(value)
