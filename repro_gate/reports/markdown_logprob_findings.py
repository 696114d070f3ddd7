"""The findings of a suite's log-probabilities in Markdown, and the notes."""

from collections.abc import Iterable, Iterator, Sequence

from repro_gate.core.goldens import FactChange
from repro_gate.core.report import GateReport
from repro_gate.reports.labelled import Line
from repro_gate.reports.logprob_findings import (
    LogprobFinding,
    logprob_findings,
)
from repro_gate.reports.markdown_text import code, fence, table
from repro_gate.reports.notes import Note

Block = Sequence[str]


def logprob_finding_blocks(report: GateReport) -> Iterator[Block]:
    """Yield a section for each finding."""
    for part in report.logprobs:
        for finding in logprob_findings(part, report):
            yield from _finding(finding)


def note_blocks(notes: Iterable[Note]) -> Iterator[Block]:
    """Yield what is worth knowing and fails nothing."""
    for note in notes:
        yield [f"**Note**: {note.claim}."]
        yield figure_block(note.lines)


def changed_table(recorded: str, changes: Iterable[FactChange]) -> Block:
    """Return what is not as it was when something was recorded."""
    return table(
        ["fact", recorded, "now"],
        [[code(change.name), *map(_fact, (change.before, change.after))] for change in changes],
    )


def _finding(finding: LogprobFinding) -> Iterator[Block]:
    said = finding.said
    yield [f"### {finding.word}: {finding.subject if finding.ids else code(finding.subject)}"]
    yield [f"{said.claim[0].upper()}{said.claim[1:]}."]
    if said.reason is not None:
        yield [f"Reason: {code(said.reason)}"]
    yield [f"- {code(cell_id)}" for cell_id in finding.ids]
    yield figure_block(finding.lines)
    if said.suspects:
        yield ["Changed since the baseline was recorded:"]
        yield changed_table("baseline", said.suspects)
    yield [f"What to do: {finding.advice}"]
    if said.remedy is not None:
        yield [f"Remedy: {code(said.remedy)}"]
    if finding.command is not None:
        yield fence([finding.command], "sh")


def figure_block(lines: Sequence[Line]) -> Block:
    """Return labelled lines under each other; nothing without any."""
    width = max((len(label) for label, _ in lines), default=0)
    return fence([f"{label:<{width}}  {text}" for label, text in lines], "text") if lines else ()


def _fact(value: str | None) -> str:
    return "(not reported)" if value is None else code(value)
