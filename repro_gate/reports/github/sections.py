"""The findings as sections of a comment, and the changed facts that they share."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

from repro_gate.core.logprobs.verdicts import Shifted
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.generation import Token
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Depends, Drift
from repro_gate.reports.findings.divergence import (
    Explanation,
    format_closeness,
    format_place,
    token_diff,
)
from repro_gate.reports.findings.logprobs import logprob_findings
from repro_gate.reports.findings.tokens import Finding, grade_findings, severity, token_findings
from repro_gate.reports.markdown_findings import changes_since
from repro_gate.reports.text.escape import Line, clipped, shortened
from repro_gate.reports.text.markdown import Block, code, fence, folded, joined, mark, table

_MAX_CHANGES: Final = 8
_MAX_FACT_NAME: Final = 60
_MAX_VALUE_LENGTH: Final = 80
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]*")
_MAX_NAME_LENGTH: Final = 150
_MAX_WORDS_LENGTH: Final = 400
_MAX_LINE_LENGTH: Final = 200
_MAX_LINES: Final = 40
_MAX_IDS: Final = 6
_MAX_IDS_IN_LINE: Final = 2


SharedChanges: TypeAlias = Mapping[str, tuple[FactChange, ...]]
"""Facts that changed for all findings against goldens, and baselines, by `Finding.recorded`."""


def shared_changes(report: GateReport) -> SharedChanges:
    """Return the changed facts that all drifts or dependences share, if there are several."""
    tokens = [cell.verdict for cell in report.cells]
    hosted = [cell.verdict for part in report.logprobs for cell in part.cells]
    return {
        "golden": _shared(each.provenance for each in tokens if isinstance(each, Drift | Depends)),
        "baseline": _shared(found.provenance for found in hosted if isinstance(found, Shifted)),
    }


def shared_block(shared: SharedChanges) -> Iterator[Block]:
    """Yield a table of the changed facts that all drifts of a gate share."""
    for recorded, findings in (("golden", "cell that differs"), ("baseline", "drift from them")):
        if shared[recorded]:
            yield [f"Changed since the {recorded}s were recorded (same for every {findings}):"]
            yield changes_table(f"{recorded}s", shared[recorded])


def changes_table(recorded: str, changes: Sequence[FactChange]) -> Block:
    """Return a table of the first changed facts, and the number of the rest."""
    rows = [[code(clipped(change.name, _MAX_FACT_NAME)), *_sides(change)] for change in changes]
    kept = table(["fact", recorded, "now"], rows[:_MAX_CHANGES])
    more = len(rows) - _MAX_CHANGES
    return [*kept, "", f"and {more} more."] if more > 0 else kept


def _shared(provenances: Iterable[tuple[FactChange, ...]]) -> tuple[FactChange, ...]:
    found = list(provenances)
    return found[0] if len(found) > 1 and len(set(found)) == 1 else ()


def _sides(change: FactChange) -> list[str]:
    short = shortened(change)
    return [
        "(not reported)" if side is None else code(clipped(side, _MAX_VALUE_LENGTH))
        for side in (short.before, short.after)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingSection:
    """One finding in a comment."""

    finding: Finding
    blocks: tuple[Block, ...]

    @property
    def line(self) -> str:
        """Return the finding as one line of untrusted text."""
        word, ids = self.finding.word, self.finding.ids
        shown = [clipped(each, _MAX_NAME_LENGTH) for each in ids[:_MAX_IDS_IN_LINE]]
        if not self.finding.listed:
            return f"{word}: {shown[0]}"
        more = len(ids) - _MAX_IDS_IN_LINE
        rest = [f"and {more} more"] if more > 0 else []
        return f"{word}: {self.finding.subject}: {', '.join([*shown, *rest])}"

    def open(self) -> Block:
        """Return the finding under a heading."""
        subject = self.finding.subject
        shown = subject if self.finding.listed else code(clipped(subject, _MAX_NAME_LENGTH))
        return joined([[f"#### {self._mark}: {shown}"], *self.blocks])

    def folded(self) -> Block:
        """Return the finding folded behind one line."""
        if self.finding.listed:
            return folded(f"{self._mark}: {self.finding.subject}", self.blocks)
        name = clipped(self.finding.subject, _MAX_NAME_LENGTH)
        # The line is HTML, so it takes only names that are plain in HTML.
        if _PLAIN.fullmatch(name):
            return folded(f"{self._mark}: <code>{name}</code>", self.blocks)
        return folded(self._mark, [[code(name)], *self.blocks])

    @property
    def _mark(self) -> str:
        return f"{mark(self.finding.outcome)} {self.finding.word}"


def token_sections(report: GateReport) -> Sequence[FindingSection]:
    """Return the findings of the token gate, the worst first."""
    return _sections(token_findings(report), report)


def grade_sections(report: GateReport) -> Sequence[FindingSection]:
    """Return the grades of drift, the worst first."""
    return _sections(grade_findings(report), report)


def hosted_sections(report: GateReport) -> Sequence[FindingSection]:
    """Return the findings of all suites of log-probabilities, the worst first."""
    parts = (logprob_findings(part, report) for part in report.logprobs)
    return _sections(chain.from_iterable(parts), report)


def _sections(findings: Iterable[Finding], report: GateReport) -> Sequence[FindingSection]:
    shared = shared_changes(report)
    return [
        FindingSection(finding=finding, blocks=tuple(_blocks(finding, shared)))
        for finding in sorted(findings, key=severity)
    ]


def _blocks(finding: Finding, shared: SharedChanges) -> Iterator[Block]:
    description = finding.description
    yield [description.sentence]
    if description.reason is not None:
        yield [f"Reason: {code(clipped(description.reason, _MAX_WORDS_LENGTH))}"]
    if description.grade is not None:
        yield [f"Grade: {description.grade}."]
    if finding.former is not None:
        yield [f"Tokens: {finding.former}."]
    yield _ids(finding.listed)
    yield _figures(finding.modes)
    if finding.explanation is None:
        yield _figures(finding.lines)
    else:
        diff = _diff(finding.explanation)
        yield fence((clipped(line, _MAX_LINE_LENGTH) for line in diff), "diff")
    if not shared[finding.recorded]:
        yield from changes_since(finding, changes_table)
    yield [description.advice]
    if description.remedy is not None:
        yield [f"Remedy: {code(clipped(description.remedy, _MAX_WORDS_LENGTH))}"]
    yield _commands(finding)


def _diff(explanation: Explanation) -> Iterator[str]:
    """Yield both sides from the divergence on, first as text and then token by token."""
    width = max(len(explanation.expected_by), len(explanation.observed_by))
    divergence = explanation.divergence
    expected = explanation.expected_continuation if explanation.expected else None
    observed = explanation.observed_continuation if explanation.observed else None
    yield f"--- {explanation.expected_by:<{width}}  {_side(expected, divergence.expected)}"
    yield f"+++ {explanation.observed_by:<{width}}  {_side(observed, divergence.observed)}"
    closeness = format_closeness(explanation)
    noted = "" if closeness is None else f", {' '.join(closeness)}"
    yield f"@@ {format_place(divergence)}{noted} @@"
    yield from token_diff(explanation)


def _side(continuation: str | None, token: Token | None) -> str:
    """Return one side of a divergence as text; without a continuation only its token is known."""
    if continuation is not None:
        return f'"{continuation}"'
    return "(end of sequence)" if token is None else "(only the differing token was kept)"


def _ids(ids: Sequence[str]) -> Block:
    shown = [f"- {code(clipped(each, _MAX_NAME_LENGTH))}" for each in ids[:_MAX_IDS]]
    more = len(ids) - _MAX_IDS
    return [*shown, f"- and {more} more"] if more > 0 else shown


def _figures(lines: Sequence[Line]) -> Block:
    if not lines:
        return ()
    width = max(len(label) for label, _ in lines)
    shown = [f"{label:<{width}}  {text}" for label, text in lines[:_MAX_LINES]]
    more = len(lines) - _MAX_LINES
    shown += [f"and {more} more lines"] if more > 0 else []
    return fence((clipped(line, _MAX_LINE_LENGTH) for line in shown), "text")


def _commands(finding: Finding) -> Block:
    commands = (
        ("# measure again", finding.repeat),
        (f"# {finding.command_label}", finding.command),
    )
    lines = [line for note, text in commands if text is not None for line in (note, text)]
    return fence(lines, "sh") if lines else ()
