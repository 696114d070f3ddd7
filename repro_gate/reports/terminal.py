"""The report for terminals and logs: short, one fact on a line."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import assert_never

from rich.console import Console
from rich.text import Text

from repro_gate.core.logprobs.report import LogprobReport, WeightReport
from repro_gate.core.outcome import Outcome, decide, outcome_of_suite
from repro_gate.core.report import GateReport
from repro_gate.reports.findings import logprob_summary, summary
from repro_gate.reports.findings.logprob_sessions import format_false_alarms, format_second_look
from repro_gate.reports.findings.logprob_wording import (
    format_effective_size,
    format_khat,
    format_pair,
    format_suite_test,
    format_usability,
)
from repro_gate.reports.findings.logprobs import logprob_findings
from repro_gate.reports.findings.modes import (
    MISSED,
    format_doubts,
    invariances,
    mode_table,
    tightened,
)
from repro_gate.reports.findings.notes import Note, check_notes, logprob_notes, suite_test_notes
from repro_gate.reports.findings.tokens import Finding, grade_findings, token_findings
from repro_gate.reports.text import escape
from repro_gate.reports.text.escape import optional
from repro_gate.reports.text.format import columns


def render_terminal(report: GateReport, console: Console) -> None:
    """Print the findings, a line for each model and policy, and the outcome."""
    for text in _lines(report):
        console.print(text, soft_wrap=True)


def format_finding(finding: Finding) -> str:
    """Return a finding as the terminal shows it, without colours."""
    return "\n".join(text.plain for text in _finding(finding)).rstrip()


def style(outcome: Outcome) -> str:
    """Return the style of an outcome."""
    match outcome:
        case Outcome.PASSED:
            return "bold green"
        case Outcome.FAILED:
            return "bold red"
        case Outcome.INCONCLUSIVE:
            return "bold yellow"
        case _:
            assert_never(outcome)


def _lines(report: GateReport) -> Iterator[Text]:
    for finding in (*token_findings(report), *grade_findings(report)):
        yield from _finding(finding)
    for part in report.logprobs:
        for finding in logprob_findings(part, report):
            yield from _finding(finding)
        yield from chain.from_iterable(map(_note, (*suite_test_notes(part), *logprob_notes(part))))
    yield from chain.from_iterable(map(_note, check_notes(report)))
    yield from _modes(report)
    if summary.has_tokens(report):
        yield from _overview(report)
    for part in report.logprobs:
        yield from _suite(part, report)
    yield _line(summary.render_summary(report), style(decide(report)))


def _finding(finding: Finding) -> Iterator[Text]:
    command = None if finding.command is None else escape.one_line(finding.command)
    yield _title(finding.word, finding.subject, finding.outcome)
    yield _line(f"  {finding.description.claim}")
    yield from _aligned([*finding.details, *optional("command", command)])
    yield Text()


def _note(note: Note) -> Iterator[Text]:
    yield _title("note", note.subject, Outcome.PASSED)
    yield _line(f"  {note.claim}")
    yield from _aligned(note.lines)
    yield Text()


def _modes(report: GateReport) -> Iterator[Text]:
    rows = invariances(report.cells)
    for row in rows:
        yield _title("modes", escape.one_line(f"{row.model} in suite {row.suite}"), row.outcome)
        yield from (_line(f"  {text}") for text in columns(mode_table(row)))
        yield from _aligned([*format_doubts([row])])
    for suite, better in tightened(report):
        yield _title("better than required", escape.one_line(suite), Outcome.PASSED)
        yield _line(f"  {better}")
    if rows:
        yield _line(MISSED)
        yield Text()


def _overview(report: GateReport) -> Iterator[Text]:
    models = summary.by_model(report)
    rows = [
        (escape.one_line(model), summary.format_runs(cells), summary.format_agreement(cells))
        for model, cells in models.items()
    ]
    rows.append((escape.one_line("controls"), summary.format_controls(report), ""))
    yield from map(_line, columns(rows))


def _suite(part: LogprobReport, report: GateReport) -> Iterator[Text]:
    outcome = outcome_of_suite(part, interrupted=report.interrupted)
    yield _title("suite", f"{part.suite}  {logprob_summary.format_suite(part)}", outcome)
    agreement = logprob_summary.format_agreeing(part)
    yield from _aligned(
        [
            *_policies(part),
            ("suite test", format_suite_test(part.suite_test)),
            *([] if agreement is None else [("agreement", agreement)]),
            ("controls", logprob_summary.format_controls(part)),
            *(("weights", _format_weights(found)) for found in part.weights),
            *optional("second look", format_second_look(part.tolerance)),
            ("cost", logprob_summary.format_cost(part.spending)),
            ("false alarms", format_false_alarms(part.tolerance, part.sessions)),
        ]
    )


def _policies(part: LogprobReport) -> Iterator[tuple[str, str]]:
    drawn = [logprob_summary.format_policy(noise) for noise in part.policies]
    width = max(map(len, drawn), default=0)
    agreed = logprob_summary.agreements(part)
    for noise, words, agreement in zip(part.policies, drawn, agreed, strict=True):
        yield escape.one_line(noise.policy), f"{words:<{width}}  {agreement}"


def _format_weights(found: WeightReport) -> str:
    control = ", A/A control" if found.is_control else ""
    figures = f"ESS {format_effective_size(found)}, k-hat {format_khat(found)}"
    return f"{format_pair(found)}{control}: {figures}. {format_usability(found)}"


def _title(word: str, subject: str, outcome: Outcome) -> Text:
    return Text.assemble((word, style(outcome)), "  ", (escape.log_line(subject), "bold"))


def _line(text: str, look: str = "") -> Text:
    return Text(escape.log_line(text), look)


def _aligned(lines: Sequence[tuple[str, str]]) -> Iterator[Text]:
    width = max((len(label) for label, _ in lines), default=0)
    for label, text in lines:
        yield Text.assemble("  ", (f"{label:<{width}}", "dim"), "  ", escape.log_line(text))
