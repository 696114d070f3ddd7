"""The part of report.json that is made for people with jq: derived, and never read back."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias, assert_never

from repro_gate.core.outcome import Outcome, decide, exit_code_for
from repro_gate.core.report import CheckResult, FinishedCheck, GateReport, UnfinishedCheck
from repro_gate.core.tokens.generation import text_of
from repro_gate.core.tokens.modes import Level
from repro_gate.reports.findings.logprob_sessions import format_false_alarms
from repro_gate.reports.findings.logprob_wording import LOGPROB_WORDS
from repro_gate.reports.findings.logprobs import logprob_findings
from repro_gate.reports.findings.modes import invariances
from repro_gate.reports.findings.tokens import Finding, grade_findings, token_findings
from repro_gate.reports.findings.wording import WORDS
from repro_gate.reports.text.escape import one_line, optional

Gate: TypeAlias = Literal["tokens", "logprobs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many cells have each verdict; every verdict of a gate is there."""

    tokens: Mapping[str, int]
    logprobs: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSummary:
    """One cell of either gate."""

    gate: Gate
    suite: str
    id: str
    verdict: str
    text: str | None
    """The output of run 1; null for log-probabilities, and where there was no run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeSummary:
    """One mode of a model in a suite, over all of its cells."""

    suite: str
    model: str
    mode: str
    required: Level
    result: str
    """`holds`, `better` than required, `depends`, `unproven`, or `-` where nothing is required."""
    answers: int
    same_tokens: int
    """How many answers have the tokens of run 1."""
    same_bits: int | None
    """How many have its log-probabilities too, to the bit; null where they are not compared."""
    shift: float | None
    """The largest change of a log-probability before a divergence, in nats."""
    tokens: int
    """How many were compared."""
    running: int | None
    """The sequences at work at once, of the cell with the fewest."""
    missed: float | None
    """The chance that no token would differ if 0.5 % did; null where some do, or unproven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFact:
    """One fact that changed since the golden or the baseline was recorded."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingSummary:
    """One thing that is wrong, unknown or let pass, with all cells that it holds for."""

    gate: Gate
    suite: str | None
    """Of log-probabilities; null for tokens, where cells of several suites may stand together."""
    verdict: str
    """A verdict, the grade of a model in a suite, or `control` or `weights`."""
    outcome: Outcome
    """`passed` for a drift that its suite lets pass."""
    subject: str
    ids: tuple[str, ...]
    """Of the cells, orphans or policies, or a suite as a whole."""
    claim: str
    reason: str | None
    remedy: str | None
    """A command or a sentence that would make the measurement possible."""
    changed: tuple[ChangedFact, ...]
    """What is not as it was when the golden or the baseline was recorded, for `drift`."""
    evidence: tuple[tuple[str, str], ...]
    """Labels and texts, as the terminal shows them: tokens and text around a divergence, draws."""
    advice: str
    accept: str | None
    """The command that accepts the finding; null when it cannot be accepted."""
    repeat: str | None
    """The command that measures it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRate:
    """The false-alarm rate of one suite of log-probabilities."""

    suite: str
    claim: str
    """With what it holds for, or why none is stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a person looks for first. All of it follows from `result`."""

    outcome: Outcome | None
    """A finding beats the unknown, which beats agreement; null when there is no report."""
    exit_code: int
    """As the process returns it without `--fail-on`."""
    counts: Counts
    cells: tuple[CellSummary, ...]
    """Those of tokens first, in the order of the matrix; the same order as in `result`."""
    modes: tuple[ModeSummary, ...]
    """Of served models whose suite compares answers in modes."""
    false_alarms: tuple[SuiteRate, ...]
    """Of the suites of log-probabilities."""
    findings: tuple[FindingSummary, ...]
    """Of the token gate first, its grades before its cells; a cell that agrees is none."""


def summary_of(result: CheckResult) -> Summary:
    """Return what a person looks for in the result of a check."""
    match result:
        case FinishedCheck(report=report):
            return Summary(
                outcome=decide(report),
                exit_code=exit_code_for(report).value,
                counts=_counts([report]),
                cells=tuple(_cells(report)),
                modes=tuple(_modes(report)),
                false_alarms=tuple(_false_alarms(report)),
                findings=(*_token_findings(report), *_logprob_findings(report)),
            )
        case UnfinishedCheck(exit_code=code):
            return Summary(
                outcome=None,
                exit_code=code,
                counts=_counts([]),
                cells=(),
                modes=(),
                false_alarms=(),
                findings=(),
            )
        case _:
            assert_never(result)


def summary_data(result: CheckResult) -> dict[str, Any]:
    """Return the summary of a result as plain JSON data."""
    summary = summary_of(result)
    # `asdict` would copy the few strings of each of many thousand cells.
    cells = tuple(map(_shallow, summary.cells))
    return {**asdict(replace(summary, cells=())), "cells": cells}


def _shallow(cell: CellSummary) -> dict[str, Any]:
    return dict(zip(_CELL_KEYS, _cell_values(cell), strict=True))


_CELL_KEYS: Final = tuple(field.name for field in fields(CellSummary))
_cell_values: Final = attrgetter(*_CELL_KEYS)


def _counts(reports: Iterable[GateReport]) -> Counts:
    tokens, logprobs = Counter[str](), Counter[str]()
    for report in reports:
        tokens.update(report.counts)
        for part in report.logprobs:
            logprobs.update(part.counts)
    return Counts(
        tokens={word: tokens[word] for word in WORDS},
        logprobs={word: logprobs[word] for word in LOGPROB_WORDS},
    )


def _cells(report: GateReport) -> Iterator[CellSummary]:
    for cell in report.cells:
        yield CellSummary(
            gate="tokens",
            suite=one_line(cell.suite),
            id=one_line(cell.id),
            verdict=cell.verdict.word,
            text=None if cell.generation is None else text_of(cell.generation.tokens),
        )
    for part in report.logprobs:
        for drawn in part.cells:
            yield CellSummary(
                gate="logprobs",
                suite=one_line(part.suite),
                id=one_line(drawn.id),
                verdict=drawn.verdict.word,
                text=None,
            )


def _modes(report: GateReport) -> Iterator[ModeSummary]:
    for row in invariances(report.cells):
        for entry in row.entries:
            yield ModeSummary(
                suite=one_line(row.suite),
                model=one_line(row.model),
                mode=str(entry.mode),
                required=entry.level,
                result=entry.word,
                answers=entry.answers,
                same_tokens=entry.same_tokens,
                same_bits=entry.same_bits,
                shift=entry.shift,
                tokens=entry.tokens,
                running=entry.running,
                missed=entry.missed,
            )


def _false_alarms(report: GateReport) -> Iterator[SuiteRate]:
    for part in report.logprobs:
        claim = format_false_alarms(part.tolerance, part.sessions)
        yield SuiteRate(suite=one_line(part.suite), claim=one_line(claim))


def _token_findings(report: GateReport) -> Iterator[FindingSummary]:
    for finding in (*grade_findings(report), *token_findings(report)):
        yield _summary_of(finding, gate="tokens", suite=None)


def _logprob_findings(report: GateReport) -> Iterator[FindingSummary]:
    for part in report.logprobs:
        for finding in logprob_findings(part, report):
            yield _summary_of(finding, gate="logprobs", suite=one_line(part.suite))


def _summary_of(finding: Finding, *, gate: Gate, suite: str | None) -> FindingSummary:
    description = finding.description
    return FindingSummary(
        gate=gate,
        suite=suite,
        verdict=finding.word,
        outcome=finding.outcome,
        subject=finding.subject,
        ids=finding.ids,
        claim=description.claim,
        reason=description.reason,
        remedy=description.remedy,
        changed=tuple(
            ChangedFact(name=fact.name, before=fact.before, after=fact.after)
            for fact in description.suspects
        ),
        evidence=(
            *optional("grade", description.grade),
            *optional("tokens", finding.former),
            *finding.modes,
            *finding.lines,
        ),
        advice=one_line(description.advice),
        accept=finding.command,
        repeat=finding.repeat,
    )
