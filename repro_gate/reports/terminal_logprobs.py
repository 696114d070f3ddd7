"""A suite's log-probabilities at a terminal: what was found, and a few lines on the whole."""

from collections.abc import Iterator

from rich.text import Text

from repro_gate.core.logprob_report import LogprobReport, WeightReport
from repro_gate.core.outcome import Outcome
from repro_gate.core.report import GateReport
from repro_gate.reports import foreign, logprob_summary
from repro_gate.reports.labelled import Line, cut, given
from repro_gate.reports.logprob_findings import (
    LogprobFinding,
    logprob_findings,
)
from repro_gate.reports.matrix_words import matrix_words, promise
from repro_gate.reports.notes import Note, logprob_notes, whole_notes
from repro_gate.reports.terminal_lines import aligned, line, title
from repro_gate.reports.weight_words import pair_words, size_words, statement, tail_words


def finding_lines(part: LogprobReport, report: GateReport) -> Iterator[Text]:
    """Yield a block for each finding, and one for each note."""
    for finding in logprob_findings(part, report):
        yield from _finding(finding)
    for note in (*whole_notes(part), *logprob_notes(part)):
        yield from note_lines(note)


def suite_lines(part: LogprobReport, report: GateReport) -> Iterator[Text]:
    """Yield the lines on a suite that stand whether it passes or not."""
    outcome = logprob_summary.outcome_of_part(part, report)
    yield title("suite", f"{part.suite}  {logprob_summary.part_words(part)}", outcome)
    yield from aligned([*_policies(part), *_whole(part), *_weights(part), *_price(part)])


def _finding(finding: LogprobFinding) -> Iterator[Text]:
    yield title(finding.word, finding.subject, finding.outcome)
    yield line(f"  {finding.said.claim}")
    yield from aligned(
        [
            *given("reason", finding.said.reason),
            *cut("cell", finding.ids),
            *finding.lines,
            *cut("changed", [foreign.change_line(change) for change in finding.said.suspects]),
            *given("remedy", finding.said.remedy),
            ("what to do", finding.advice),
            *given("command", finding.command),
        ]
    )
    yield Text()


def note_lines(note: Note) -> Iterator[Text]:
    """Yield a block for what is worth knowing."""
    yield title("note", note.subject, Outcome.PASSED)
    yield line(f"  {note.claim}")
    yield from aligned(note.lines)
    yield Text()


def _policies(part: LogprobReport) -> Iterator[Line]:
    drawn = [logprob_summary.policy_words(noise) for noise in part.policies]
    width = max(map(len, drawn), default=0)
    agreed = logprob_summary.agreements(part)
    for noise, words, agreement in zip(part.policies, drawn, agreed, strict=True):
        yield foreign.one_line(noise.policy), f"{words:<{width}}  {agreement}"


def _whole(part: LogprobReport) -> Iterator[Line]:
    yield "whole", matrix_words(part.suite_test)
    yield from given("sameness", logprob_summary.sameness_words(part))
    yield "controls", logprob_summary.control_words(part)


def _weights(part: LogprobReport) -> Iterator[Line]:
    return (("weights", _weight_words(found)) for found in part.weights)


def _weight_words(found: WeightReport) -> str:
    control = ", A/A control" if found.is_control else ""
    figures = f"ESS {size_words(found)}, k-hat {tail_words(found)}"
    return f"{pair_words(found)}{control}: {figures}. {statement(found)}"


def _price(part: LogprobReport) -> Iterator[Line]:
    yield "spent", logprob_summary.spending_words(part.spending)
    yield "false alarms", promise(part.tolerance)
