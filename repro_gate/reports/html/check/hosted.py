"""The suites of log-probabilities of a check, as a template shows them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import Final

from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport
from repro_gate.core.logprobs.verdicts import Agrees
from repro_gate.core.outcome import Outcome, outcome_of_suite, outcome_of_verdict
from repro_gate.core.report import GateReport
from repro_gate.reports.findings import logprob_summary
from repro_gate.reports.findings.logprob_evidence import shift_of
from repro_gate.reports.findings.logprob_sessions import format_false_alarms, format_second_look
from repro_gate.reports.findings.logprob_tables import (
    POLICY_COLUMNS,
    WEIGHT_COLUMNS,
    policy_row,
    weight_row,
)
from repro_gate.reports.findings.logprob_wording import (
    FORMULA,
    describe_logprob_control,
    describe_logprobs,
    describe_suite_test,
    describe_weights,
    format_pair,
    format_usability,
    outcome_of_suite_test,
    outcome_of_weights,
    suite_test_lines,
)
from repro_gate.reports.findings.notes import Note, logprob_notes
from repro_gate.reports.html.charts import Kind
from repro_gate.reports.html.check.draws import draws_of, effect_of, strip_of
from repro_gate.reports.html.strip import Strip
from repro_gate.reports.text.escape import Escaped
from repro_gate.reports.text.format import chance, nats, shifted

_BLOCK: Final = 100
"""Rows of a table that a browser need not lay out while they are out of sight."""
_KEY: Final = (
    (Kind.BAND, "allowed by the band"),
    (Kind.ZERO, "center of the baseline"),
    (Kind.DRAWS, "draw of the baseline"),
    (Kind.NOW, "draw of this check"),
    (Kind.AWAY, "outside the band"),
    (Kind.CROSS, "outlier, drawn again"),
)
_POLICY_LEGEND: Final = (
    "Variances are within cells, in nats squared. Identical is the share of draws that repeat a "
    "calibration draw to the last digit."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedRow:
    """A cell with its draws and figures."""

    item: str
    finding: int | None
    """The number of its finding; None if it has none, or none that is shown."""
    word: str
    outcome: Outcome
    is_changed: bool
    """Whether it changed significantly and agrees, because that is within the tolerance."""
    strip: Strip | None
    """None without a baseline."""
    reason: Escaped | None
    moved: str
    """The shift that decided."""
    of: str
    """The token that decided; empty for the sum."""
    band: str
    p_value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedPolicy:
    """The cells of a policy in a suite."""

    number: int
    """Counted from 1 on the page."""
    name: str
    blocks: Sequence[Sequence[HostedRow]]

    def is_full(self, block: Sequence[HostedRow]) -> bool:
        """Return whether a block has the height that the style states."""
        return len(block) == _BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedSuite:
    """A suite of log-probabilities."""

    name: str
    """Untrusted."""
    outcome: Outcome
    counted: str
    policies: Sequence[HostedPolicy]
    whole: tuple[Outcome, str, str]
    """The outcome of the test of the suite as a whole, its word and its claim."""
    whole_lines: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    noise: Sequence[Sequence[str]]
    """Of each policy."""
    weights: Sequence[Sequence[str]]
    usable: Sequence[tuple[Outcome, str, str]]
    """Of each pair of policies: the outcome, its name, and whether its weights can be used."""
    controls: Sequence[tuple[Outcome, str, str, str]]
    """The outcome, the policy, the cell and what was found."""
    controlled: str
    notes: Sequence[Note]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """The suites of log-probabilities of a check."""

    suites: Sequence[HostedSuite]
    key: Sequence[tuple[Kind, str]] = _KEY
    policy_legend: str = _POLICY_LEGEND
    policy_columns: Sequence[str] = POLICY_COLUMNS
    weight_legend: str = f"{FORMULA}. The effective sample size (ESS) is at most the items."
    weight_columns: Sequence[str] = WEIGHT_COLUMNS


def hosted_of(report: GateReport, findings: Mapping[int, int]) -> Hosted | None:
    """Return the suites of log-probabilities of a report; None without any.

    Args:
        report: what was found.
        findings: by `id()` of a cell, the number of its finding on the page.
    """
    numbers = count(1)
    suites = [_suite(part, report, findings, numbers) for part in report.logprobs]
    return Hosted(suites=suites) if suites else None


def _suite(
    part: LogprobReport, report: GateReport, findings: Mapping[int, int], numbers: Iterator[int]
) -> HostedSuite:
    test = part.suite_test
    outcome, claim = outcome_of_suite_test(test.verdict), describe_suite_test(test).sentence
    return HostedSuite(
        name=part.suite,
        outcome=outcome_of_suite(part, interrupted=report.interrupted),
        counted=logprob_summary.format_suite(part),
        policies=tuple(_policies(part, findings, numbers)),
        whole=(outcome, test.verdict.value, claim),
        whole_lines=suite_test_lines(test, part.tolerance),
        facts=tuple(_facts(part)),
        noise=tuple(map(policy_row, part.policies, logprob_summary.agreements(part))),
        weights=tuple(map(weight_row, part.weights)),
        usable=tuple(_usable(part)),
        controls=tuple(_controls(part)),
        controlled=logprob_summary.format_controls(part),
        notes=tuple(logprob_notes(part)),
    )


def _policies(
    part: LogprobReport, findings: Mapping[int, int], numbers: Iterator[int]
) -> Iterator[HostedPolicy]:
    for policy, cells in groupby(part.cells, key=lambda cell: cell.cell.policy.name):
        rows = [_row(cell, findings) for cell in cells]
        yield HostedPolicy(
            number=next(numbers),
            name=policy,
            blocks=[rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)],
        )


def _row(cell: LogprobCellReport, findings: Mapping[int, int]) -> HostedRow:
    draws, effect = draws_of(cell), effect_of(cell)
    shift = shift_of(cell) if effect is None else effect.deciding.shift
    agrees = isinstance(cell.verdict, Agrees)
    return HostedRow(
        item=cell.cell.item.name,
        finding=None if agrees else findings.get(id(cell)),
        word=cell.verdict.word,
        outcome=outcome_of_verdict(cell.verdict),
        is_changed=agrees and effect is not None,
        strip=None if draws is None else strip_of(draws, name=cell.id),
        reason=describe_logprobs(cell).reason,
        moved="" if shift is None else shifted(shift),
        of="" if draws is None or draws.token is None else f"token {draws.token}",
        band="" if draws is None else nats(draws.band),
        p_value="" if effect is None else chance(effect.p_value),
    )


def _facts(part: LogprobReport) -> Iterator[tuple[str, str]]:
    agreement = logprob_summary.format_agreeing(part)
    later = format_second_look(part.tolerance)
    if agreement is not None:
        yield "cells that agree", agreement
    yield "false alarms", format_false_alarms(part.tolerance, part.sessions)
    if later is not None:
        yield "second look", later
    yield "cost", logprob_summary.format_cost(part.spending)


def _usable(part: LogprobReport) -> Iterator[tuple[Outcome, str, str]]:
    for found in part.weights:
        outcome, reason = outcome_of_weights(found), describe_weights(found).reason
        # Unusable weights are no success, even where they are only for information.
        is_doubtful = reason is not None and outcome is Outcome.PASSED
        shown = Outcome.INCONCLUSIVE if is_doubtful else outcome
        yield shown, format_pair(found), format_usability(found)


def _controls(part: LogprobReport) -> Iterator[tuple[Outcome, str, str, str]]:
    for control in part.controls:
        outcome = Outcome.FAILED if control.failed else Outcome.PASSED
        yield outcome, control.policy, control.cell, describe_logprob_control(control).sentence
