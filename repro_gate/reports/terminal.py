"""The report for whoever waits at a terminal or reads a log: short, one fact on a line."""

from collections.abc import Iterator, Sequence
from typing import assert_never

from rich.console import Console
from rich.text import Text

from repro_gate.core.outcome import Outcome, decide, outcome_of_verdict
from repro_gate.core.report import ControlReport, GateReport
from repro_gate.reports import foreign, summary
from repro_gate.reports.describe import advise, describe, describe_control
from repro_gate.reports.explain import evidence, explain
from repro_gate.reports.findings import Finding, findings

_MOST_LISTED = 5
"""Ids or changed facts in one block; the files have all of them."""


def render_terminal(report: GateReport, console: Console) -> None:
    """Print the findings, a line for each model and for the controls, and the outcome."""
    for line in _lines(report):
        console.print(line, soft_wrap=True)


def _lines(report: GateReport) -> Iterator[Text]:
    for finding in findings(report):
        yield from _finding(finding)
    for control in report.controls:
        if control.failed:
            yield from _control(control)
    yield from _overview(report)
    yield _line(summary.render_summary(report), _style(decide(report)))


def _finding(finding: Finding) -> Iterator[Text]:
    cell, said = finding.first, describe(finding.first)
    several = len(finding.cells) > 1
    subject = finding.count_words if several else finding.ids[0]
    yield _title(cell.verdict.word, subject, outcome_of_verdict(cell.verdict))
    yield _line(f"  {said.claim}")
    explanation = explain(cell)
    yield from _aligned(
        [
            *_given("reason", said.reason),
            *(_cut("cell", finding.ids) if several else ()),
            *(evidence(explanation) if explanation else ()),
            *_cut("changed", [foreign.change_line(change) for change in said.suspects]),
            *_given("remedy", said.remedy),
            ("what to do", advise(cell.verdict)),
            *_given("command", finding.command),
        ]
    )
    yield Text()


def _control(control: ControlReport) -> Iterator[Text]:
    yield _title("control", control.cell, Outcome.FAILED)
    yield _line(f"  {describe_control(control)}")
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
        yield _line(f"{name:<{widths[0]}}  {first:<{widths[1]}}  {second}".rstrip())


def _given(label: str, text: str | None) -> Iterator[tuple[str, str]]:
    if text is not None:
        yield label, text


def _cut(label: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield a line for each text, as far as a reader at a terminal can use them."""
    for text in texts[:_MOST_LISTED]:
        yield label, text
    if len(texts) > _MOST_LISTED:
        yield label, f"and {len(texts) - _MOST_LISTED} more"


def _aligned(lines: Sequence[tuple[str, str]]) -> Iterator[Text]:
    width = max(len(label) for label, _ in lines)
    for label, text in lines:
        yield Text.assemble("  ", (f"{label:<{width}}", "dim"), "  ", _inert(text))


def _title(word: str, subject: str, outcome: Outcome) -> Text:
    return Text.assemble((word, _style(outcome)), "  ", (_inert(subject), "bold"))


def _line(text: str, style: str = "") -> Text:
    return Text(_inert(text), style)


def _inert(text: str) -> str:
    # A GitHub runner obeys `##[command]` wherever it stands in a line of a log.
    return foreign.one_line(text).replace("##[", r"#\x23[")


def _style(outcome: Outcome) -> str:
    match outcome:
        case Outcome.PASSED:
            return "bold green"
        case Outcome.FAILED:
            return "bold red"
        case Outcome.INCONCLUSIVE:
            return "bold yellow"
        case _:
            assert_never(outcome)
