"""Notes: facts worth knowing about a check that never change its outcome."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Effect, Outlying, Shifted
from repro_gate.core.report import GateReport, NoteOrigin
from repro_gate.reports.findings.logprob_evidence import format_effect, outlier_lines
from repro_gate.reports.findings.logprob_summary import changes
from repro_gate.reports.findings.logprob_wording import (
    BELOW_FLOOR,
    WITHIN_BAND,
    describe_suite_test,
    suite_test_lines,
)
from repro_gate.reports.text.escape import Escaped, Line, escape_lines, limited, message, one_line
from repro_gate.reports.text.format import nats, percent, plural

_MAX_OUTLYING = 3
"""Cells whose outliers are listed in a note; report.json has all."""

_CLAIMS = {
    NoteOrigin.GATE: "the check found something that does not change the outcome",
    NoteOrigin.ENGINE: "the engine reported something that does not change the outcome",
    NoteOrigin.SERVER: "the server's answers show something that does not change the outcome",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A fact worth knowing that never changes the outcome."""

    claim: str
    """Without untrusted text."""
    subject: Escaped
    lines: tuple[Line, ...]


def check_notes(report: GateReport) -> Iterator[Note]:
    """Yield the notes of a check, one for each message."""
    groups: dict[tuple[NoteOrigin, str], list[Escaped]] = defaultdict(list)
    for note in report.notes:
        groups[note.origin, note.message].append(one_line(note.about))
    for (origin, text), about in groups.items():
        more = f" and {len(about) - 1} more" if len(about) > 1 else ""
        yield Note(
            claim=_CLAIMS[origin],
            subject=one_line(f"{about[0]}{more}"),
            lines=(*limited("about", about), ("message", message(text))),
        )


def suite_test_notes(part: LogprobReport) -> Iterator[Note]:
    """Yield a note if the suite as a whole changed by less than the floor."""
    if part.suite_test.verdict is SuiteVerdict.CHANGED:
        subject = one_line(f"{part.suite} as a whole")
        figures = escape_lines(suite_test_lines(part.suite_test, part.tolerance))
        yield Note(claim=describe_suite_test(part.suite_test).claim, subject=subject, lines=figures)


def logprob_notes(part: LogprobReport) -> Iterator[Note]:
    """Yield changes within the tolerance, and outliers within the allowed rate."""
    floor = part.tolerance.floor_nats
    small = [found for found in changes(part) if abs(found[1].deciding.shift) <= floor]
    larger = [found for found in changes(part) if abs(found[1].deciding.shift) > floor]
    yield from _changes(f"{BELOW_FLOOR} ({nats(floor)} nats)", small)
    yield from _changes(WITHIN_BAND, larger)
    outlying = [cell for cell in part.cells if cell.outliers and not _has_own_finding(cell)]
    if outlying:
        allowed = percent(part.tolerance.max_outlier_rate)
        claim = f"outliers were redrawn; above {allowed} of all draws they are a finding"
        lines = [line for cell in outlying[:_MAX_OUTLYING] for line in _outliers_of(cell)]
        if len(outlying) > _MAX_OUTLYING:
            lines.append(("cell", f"and {len(outlying) - _MAX_OUTLYING} more"))
        subject = one_line(plural(len(outlying), "cell"))
        yield Note(claim=claim, subject=subject, lines=escape_lines(lines))


def _changes(claim: str, changed: Sequence[tuple[LogprobCellReport, Effect]]) -> Iterator[Note]:
    if changed:
        words = [one_line(f"{cell.id}  {format_effect(effect)}") for cell, effect in changed]
        subject = one_line(plural(len(changed), "cell"))
        yield Note(claim=claim, subject=subject, lines=tuple(limited("cell", words)))


def _has_own_finding(cell: LogprobCellReport) -> bool:
    """Tell whether the finding on a cell lists its outliers."""
    return isinstance(cell.verdict, Outlying | Shifted)


def _outliers_of(cell: LogprobCellReport) -> Iterator[tuple[str, str]]:
    yield "cell", cell.id
    yield from outlier_lines(cell)
