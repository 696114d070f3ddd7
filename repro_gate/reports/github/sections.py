"""The findings as a reviewer reads them: each a section that can stand alone, or be folded."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from repro_gate.core.outcome import Outcome, outcome_of_verdict
from repro_gate.core.report import GateReport
from repro_gate.core.tokens import Token
from repro_gate.core.verdicts import Drift
from repro_gate.reports.describe import (
    Description,
    advise,
    command_label,
    describe,
    describe_former,
)
from repro_gate.reports.explain import Explanation, explain, margin_words, where
from repro_gate.reports.findings import Finding, findings
from repro_gate.reports.foreign import clipped
from repro_gate.reports.github.changes import SharedChanges, changes_table, shared_changes
from repro_gate.reports.github.folding import folded, joined
from repro_gate.reports.labelled import Line
from repro_gate.reports.logprob_findings import LogprobFinding, logprob_findings
from repro_gate.reports.markdown_text import code, fence, mark
from repro_gate.reports.token_diff import token_diff

Block = Sequence[str]

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]*")
_LONGEST_NAME: Final = 150
_LONGEST_WORDS: Final = 400
_LONGEST_LINE: Final = 200
_MOST_LINES: Final = 40
_MOST_IDS: Final = 6
_MOST_IDS_OF_LINE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One finding."""

    word: str
    subject: str
    """In foreign words, unless it is a count."""
    is_count: bool
    outcome: Outcome
    blocks: tuple[Block, ...]
    ids: tuple[str, ...] = ()
    """In printable foreign words, where the subject is a count."""

    @property
    def line(self) -> str:
        """Return the finding as a line of foreign text, for where there is no room for more."""
        if not self.is_count:
            return f"{self.word}: {clipped(self.subject, _LONGEST_NAME)}"
        told = [clipped(each, _LONGEST_NAME) for each in self.ids[:_MOST_IDS_OF_LINE]]
        more = len(self.ids) - _MOST_IDS_OF_LINE
        rest = [f"and {more} more"] if more > 0 else []
        return f"{self.word}: {self.subject}: {', '.join([*told, *rest])}"

    def open(self) -> Block:
        """Return the finding under a heading."""
        subject = self.subject if self.is_count else code(clipped(self.subject, _LONGEST_NAME))
        heading = f"#### {mark(self.outcome)} {self.word}: {subject}"
        return joined([[heading], *self.blocks])

    def folded(self) -> Block:
        """Return the finding behind a line."""
        line = f"{mark(self.outcome)} {self.word}"
        if self.is_count:
            return folded(f"{line}: {self.subject}", self.blocks)
        name = clipped(self.subject, _LONGEST_NAME)
        # The line is HTML, in which no more than an id of a matrix can mean nothing.
        if _PLAIN.fullmatch(name):
            return folded(f"{line}: <code>{name}</code>", self.blocks)
        return folded(line, [[code(name)], *self.blocks])


def token_sections(report: GateReport) -> Sequence[Section]:
    """Return what was found of tokens, and what was not measured last."""
    shared = shared_changes(report)
    found = [_token_section(finding, shared) for finding in findings(report)]
    return sorted(found, key=_is_unknown)


def hosted_sections(report: GateReport) -> Sequence[Section]:
    """Return what was found of log-probabilities, and what was not measured last."""
    shared = shared_changes(report)
    found = [finding for part in report.logprobs for finding in logprob_findings(part, report)]
    return sorted((_hosted_section(finding, shared) for finding in found), key=_is_unknown)


def _is_unknown(section: Section) -> bool:
    return section.outcome is Outcome.INCONCLUSIVE


def _token_section(finding: Finding, shared: SharedChanges) -> Section:
    several = len(finding.cells) > 1
    return Section(
        word=finding.first.verdict.word,
        subject=finding.count_words if several else finding.ids[0],
        is_count=several,
        outcome=outcome_of_verdict(finding.first.verdict),
        blocks=tuple(_token_blocks(finding, shared)),
        ids=finding.ids,
    )


def _token_blocks(finding: Finding, shared: SharedChanges) -> Iterator[Block]:
    cell, said = finding.first, describe(finding.first)
    yield from _claim(said)
    former = describe_former(finding.cells)
    if former is not None:
        yield [f"Tokens: {former}."]
    yield _ids(finding.ids)
    explanation = explain(cell)
    if explanation is not None:
        yield fence((clipped(line, _LONGEST_LINE) for line in _diff(explanation)), "diff")
    if not shared.goldens:
        yield from _suspects("golden", said)
        if isinstance(cell.verdict, Drift) and not said.suspects:
            yield ["The provenance has not changed since the golden was recorded."]
    yield from _what_to_do(advise(cell.verdict), said.remedy)
    yield _commands(finding.repeat, finding.command, cell.verdict.word)


def _diff(explanation: Explanation) -> Iterator[str]:
    """Yield both sides from the divergence on as text, and then token by token."""
    width = max(len(explanation.expected_by), len(explanation.observed_by))
    divergence = explanation.divergence
    expected = explanation.expected_continuation if explanation.expected else None
    observed = explanation.observed_continuation if explanation.observed else None
    yield f"--- {explanation.expected_by:<{width}}  {_said(expected, divergence.expected)}"
    yield f"+++ {explanation.observed_by:<{width}}  {_said(observed, divergence.observed)}"
    margin = margin_words(explanation)
    told = "" if margin is None else f", margin {margin}"
    yield f"@@ {where(divergence)}{told} @@"
    yield from token_diff(explanation)


def _said(continuation: str | None, token: Token | None) -> str:
    """Return what a side says from the divergence on; None when no more than its token is known."""
    if continuation is not None:
        return f'"{continuation}"'
    return "(end of sequence)" if token is None else "(only the differing token was kept)"


def _hosted_section(finding: LogprobFinding, shared: SharedChanges) -> Section:
    return Section(
        word=finding.word,
        subject=finding.subject,
        is_count=bool(finding.ids),
        outcome=finding.outcome,
        blocks=tuple(_hosted_blocks(finding, shared)),
        ids=finding.ids,
    )


def _hosted_blocks(finding: LogprobFinding, shared: SharedChanges) -> Iterator[Block]:
    yield from _claim(finding.said)
    yield _ids(finding.ids)
    yield _figures(finding.lines)
    if not shared.baselines:
        yield from _suspects("baseline", finding.said)
    yield from _what_to_do(finding.advice, finding.said.remedy)
    yield _commands(finding.repeat, finding.command, finding.word)


def _claim(said: Description) -> Iterator[Block]:
    yield [f"{said.claim[0].upper()}{said.claim[1:]}."]
    if said.reason is not None:
        yield [f"Reason: {code(clipped(said.reason, _LONGEST_WORDS))}"]


def _ids(ids: Sequence[str]) -> Block:
    if len(ids) < 2:  # noqa: PLR2004 -- the heading names a single one
        return ()
    told = [f"- {code(clipped(each, _LONGEST_NAME))}" for each in ids[:_MOST_IDS]]
    more = len(ids) - _MOST_IDS
    return [*told, f"- and {more} more"] if more > 0 else told


def _figures(lines: Sequence[Line]) -> Block:
    if not lines:
        return ()
    width = max(len(label) for label, _ in lines)
    told = [f"{label:<{width}}  {text}" for label, text in lines[:_MOST_LINES]]
    more = len(lines) - _MOST_LINES
    told += [f"and {more} more lines"] if more > 0 else []
    return fence((clipped(line, _LONGEST_LINE) for line in told), "text")


def _suspects(recorded: str, said: Description) -> Iterator[Block]:
    if said.suspects:
        yield [f"Changed since the {recorded} was recorded:"]
        yield changes_table(recorded, said.suspects)


def _what_to_do(advice: str, remedy: str | None) -> Iterator[Block]:
    yield [advice]
    if remedy is not None:
        yield [f"Remedy: {code(clipped(remedy, _LONGEST_WORDS))}"]


def _commands(repeat: str | None, command: str | None, word: str) -> Block:
    told = (("# measure it again", repeat), (f"# {command_label(word)}", command))
    lines = [line for label, given in told if given is not None for line in (label, given)]
    return fence(lines, "sh") if lines else ()
