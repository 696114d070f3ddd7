"""The findings of the Markdown report: what was seen, where to look, and what to do."""

from collections.abc import Iterator, Sequence
from itertools import chain

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.verdicts import Drift
from repro_gate.reports.describe import advise, describe, describe_former
from repro_gate.reports.explain import Explanation, evidence, explain
from repro_gate.reports.findings import Finding, findings
from repro_gate.reports.markdown_logprob_findings import changed_table, logprob_finding_blocks
from repro_gate.reports.markdown_text import code, fence
from repro_gate.reports.token_diff import token_diff

Block = Sequence[str]


def finding_blocks(report: GateReport) -> Iterator[Block]:
    """Yield a section for each finding."""
    blocks = [
        *chain.from_iterable(map(_finding, findings(report))),
        *logprob_finding_blocks(report),
    ]
    if blocks:
        yield ["## Findings"]
        yield from blocks


def _finding(finding: Finding) -> Iterator[Block]:
    cell, said = finding.first, describe(finding.first)
    several = len(finding.cells) > 1
    yield [f"### {cell.verdict.word}: {finding.count_words if several else code(cell.id)}"]
    yield [f"{said.claim[0].upper()}{said.claim[1:]}."]
    if said.reason is not None:
        yield [f"Reason: {code(said.reason)}"]
    former = describe_former(finding.cells)
    if former is not None:
        yield [f"Tokens: {former}."]
    if several:
        yield [f"- {code(cell_id)}" for cell_id in finding.ids]
    explanation = explain(cell)
    if explanation is not None:
        yield from _divergence(explanation)
        yield from _suspects(cell)
    yield from _what_to_do(finding)


def _divergence(explanation: Explanation) -> Iterator[Block]:
    yield fence(_diff(explanation), "diff")
    lines = evidence(explanation)
    width = max(len(label) for label, _ in lines)
    yield fence([f"{label:<{width}}  {text}" for label, text in lines], "text")


def _diff(explanation: Explanation) -> Iterator[str]:
    yield f"--- {explanation.expected_by}"
    yield f"+++ {explanation.observed_by}"
    yield from token_diff(explanation)


def _suspects(cell: CellReport) -> Iterator[Block]:
    changes = describe(cell).suspects
    if changes:
        yield ["Changed since the golden was recorded:"]
        yield changed_table("golden", changes)
    elif isinstance(cell.verdict, Drift):
        yield ["The provenance has not changed since the golden was recorded."]


def _what_to_do(finding: Finding) -> Iterator[Block]:
    remedy = describe(finding.first).remedy
    yield [f"What to do: {advise(finding.first.verdict)}"]
    if remedy is not None:
        yield [f"Remedy: {code(remedy)}"]
    if finding.command is not None:
        yield fence([finding.command], "sh")
