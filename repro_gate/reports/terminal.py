"""The report for whoever waits at a terminal or reads a log: short, one fact on a line."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from repro_gate.core.outcome import decide, outcome_of_verdict
from repro_gate.core.report import GateReport
from repro_gate.reports import foreign, summary
from repro_gate.reports.describe import advise, describe, describe_former
from repro_gate.reports.explain import evidence, explain
from repro_gate.reports.findings import Finding, findings
from repro_gate.reports.labelled import cut, given
from repro_gate.reports.notes import check_notes
from repro_gate.reports.terminal_lines import aligned, line, style, title
from repro_gate.reports.terminal_logprobs import finding_lines, note_lines, suite_lines


def render_terminal(report: GateReport, console: Console) -> None:
    """Print the findings, a line for each model, each policy and the controls, and the outcome."""
    for text in _lines(report):
        console.print(text, soft_wrap=True)


def _lines(report: GateReport) -> Iterator[Text]:
    for finding in findings(report):
        yield from _finding(finding)
    for part in report.logprobs:
        yield from finding_lines(part, report)
    for note in check_notes(report):
        yield from note_lines(note)
    if summary.has_tokens(report):
        yield from _overview(report)
    for part in report.logprobs:
        yield from suite_lines(part, report)
    yield line(summary.render_summary(report), style(decide(report)))


def _finding(finding: Finding) -> Iterator[Text]:
    cell, said = finding.first, describe(finding.first)
    several = len(finding.cells) > 1
    subject = finding.count_words if several else finding.ids[0]
    yield title(cell.verdict.word, subject, outcome_of_verdict(cell.verdict))
    yield line(f"  {said.claim}")
    explanation = explain(cell)
    yield from aligned(
        [
            *given("reason", said.reason),
            *given("tokens", describe_former(finding.cells)),
            *(cut("cell", finding.ids) if several else ()),
            *(evidence(explanation) if explanation else ()),
            *cut("changed", [foreign.change_line(change) for change in said.suspects]),
            *given("remedy", said.remedy),
            ("what to do", advise(cell.verdict)),
            *given("command", finding.command),
        ]
    )
    yield Text()


def _overview(report: GateReport) -> Iterator[Text]:
    models = summary.by_model(report)
    rows = [
        (foreign.one_line(model), summary.run_words(cells), summary.agreement_words(cells))
        for model, pairs in models.items()
        for cells in [[cell for _, cell in pairs]]
    ]
    rows.append(("controls", summary.control_words(report), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, first, second in rows:
        yield line(f"{name:<{widths[0]}}  {first:<{widths[1]}}  {second}".rstrip())
