"""Annotations of a job, as commands to the runner.

The runner takes 10 of each level for a whole action, however many commands print them, and cuts a
message at 4,096 characters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias, assert_never

from repro_gate.core.outcome import Outcome, decide
from repro_gate.core.report import (
    CellReport,
    CheckResult,
    FinishedCheck,
    GateReport,
    UnfinishedCheck,
)
from repro_gate.core.tokens.grade import GradeWord
from repro_gate.reports.findings import summary
from repro_gate.reports.findings.logprobs import logprob_findings
from repro_gate.reports.findings.notes import Note, check_notes, logprob_notes, suite_test_notes
from repro_gate.reports.findings.tokens import Finding, grade_findings, token_findings
from repro_gate.reports.text import escape
from repro_gate.reports.text.escape import Line, optional

LineOf: TypeAlias = Callable[[CellReport], tuple[str, int] | None]
"""Returns the path of a cell's golden in the workspace, and the line at which it drifted."""

_MAX_ANNOTATIONS: Final = 10
_RESERVED: Final = {"error": 1, "warning": 3, "notice": 3}
"""Reserved for annotations before the result is known; the runner counts both together."""
_MAX_TITLE_LENGTH: Final = 120
_MAX_MESSAGE_LENGTH: Final = 1_300
"""Each character may become three, as `%25`."""
_DATA: Final = {"%": "%25", "\r": "%0D", "\n": "%0A", "##[": r"#\x23["}
_PROPERTY: Final = {**_DATA, ":": "%3A", ",": "%2C"}
_LEVELS: Final = {
    Outcome.FAILED: "error",
    Outcome.INCONCLUSIVE: "warning",
    Outcome.PASSED: "notice",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A message of one or several lines on a run, or beside a line of a file."""

    level: str
    title: str
    message: str
    place: tuple[str, int] | None = None


def render_annotations(
    result: CheckResult | None, *, line_of: LineOf, first: Sequence[Annotation] = ()
) -> str:
    """Return the commands that annotate a run, one on each line.

    Args:
        result: what the check left behind; None when it left nothing.
        line_of: finds the golden of a drifted cell.
        first: further annotations, to be shown before all others of their level.
    """
    limits = {level: _MAX_ANNOTATIONS - kept for level, kept in _RESERVED.items()}
    return _render([*first, *annotations_of(result, line_of)], limits)


def render_early_annotations(annotations: Sequence[Annotation]) -> str:
    """Return the commands for annotations that come before those of a result.

    There are so few that the runner takes those of the result too.
    """
    return _render(annotations, _RESERVED)


def _render(annotations: Sequence[Annotation], limits: Mapping[str, int]) -> str:
    shown = (
        _most_important([each for each in annotations if each.level == level], count)
        for level, count in limits.items()
    )
    return "".join(map(_command, chain.from_iterable(shown)))


def annotations_of(result: CheckResult | None, line_of: LineOf) -> Iterator[Annotation]:
    """Yield every annotation for the result of a check; see `render_annotations`."""
    match result:
        case None:
            why = "It was killed, timed out or never started."
            yield Annotation(level="error", title="The check left no result", message=why)
        case UnfinishedCheck(message=message, remedy=remedy):
            text = "\n".join(map(escape.one_line, message.splitlines()))
            text += "" if remedy is None else f"\nRemedy: {escape.message(remedy)}"
            yield Annotation(level="error", title="The check could not run", message=text)
        case FinishedCheck(report=report):
            yield from _of_report(report, line_of)
        case _:
            assert_never(result)


def _of_report(report: GateReport, line_of: LineOf) -> Iterator[Annotation]:
    # Few annotations are shown; one that nothing was compared adds nothing to those of the cells.
    decided = [each for each in grade_findings(report) if each.word != GradeWord.UNDECIDED]
    found = (*decided, *token_findings(report))
    yield from (_of_finding(finding, line_of) for finding in found)
    for part in report.logprobs:
        yield from (_of_finding(finding, line_of) for finding in logprob_findings(part, report))
        yield from map(_of_note, (*suite_test_notes(part), *logprob_notes(part)))
    yield from map(_of_note, check_notes(report))
    if decide(report) is Outcome.INCONCLUSIVE or report.interrupted:
        why = summary.explain_outcome(report)
        yield Annotation(level="warning", title="Not everything was measured", message=why)


def _of_finding(finding: Finding, line_of: LineOf) -> Annotation:
    # Annotations are not shown in a fixed-width font, which a plot needs.
    lines = [line for line in finding.details if line[0] != "draws"]
    command = None if finding.command is None else escape.one_line(finding.command)
    lines.extend(optional(finding.command_label, command))
    return Annotation(
        level=_LEVELS[finding.outcome],
        title=f"{finding.word}: {finding.subject}",
        message=_message(finding.description.claim, lines),
        place=line_of(finding.cells[0]) if finding.cells else None,
    )


def _of_note(note: Note) -> Annotation:
    message = _message(note.claim, note.lines)
    return Annotation(level="notice", title=f"note: {note.subject}", message=message)


def _message(claim: str, lines: Sequence[Line]) -> str:
    return "\n".join(
        [f"{claim[0].upper()}{claim[1:]}.", *(f"{label}: {text}" for label, text in lines)]
    )


def _most_important(level: Sequence[Annotation], limit: int) -> Sequence[Annotation]:
    """Return the first annotations of a level, the last of which may count the others."""
    if len(level) <= limit:
        return level
    more = len(level) - limit + 1
    note = f"The report has {more} more, omitted to fit GitHub's limit."
    last = Annotation(level=level[0].level, title=f"And {more} more", message=note)
    return [*level[: limit - 1], last]


def _command(annotation: Annotation) -> str:
    properties: dict[str, str] = {}
    if annotation.place is not None:
        file, line = annotation.place
        properties = {"file": escape.one_line(file), "line": str(line)}
    properties["title"] = escape.clipped(annotation.title, _MAX_TITLE_LENGTH)
    named = ",".join(f"{name}={_escaped(text, _PROPERTY)}" for name, text in properties.items())
    message = "\n".join(map(escape.one_line, annotation.message.split("\n")))
    if len(message) > _MAX_MESSAGE_LENGTH:
        message = f"{message[: _MAX_MESSAGE_LENGTH - 1]}\N{HORIZONTAL ELLIPSIS}"
    return f"::{annotation.level} {named}::{_escaped(message, _DATA)}\n"


def _escaped(text: str, escapes: Mapping[str, str]) -> str:
    for character, replacement in escapes.items():
        text = text.replace(character, replacement)
    return text
