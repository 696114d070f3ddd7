"""From verdicts to one outcome, and from the outcome to an exit code."""

from enum import IntEnum, StrEnum
from typing import assert_never

from repro_gate.core.logprob_report import LogprobReport, SuiteVerdict
from repro_gate.core.logprob_verdicts import Agrees, Invalid, LogprobVerdict, Outlying, Shifted
from repro_gate.core.report import GateReport
from repro_gate.core.verdicts import (
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
    Verdict,
)


class Outcome(StrEnum):
    """What a check as a whole says."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class ExitCode(IntEnum):
    """What the process says to a shell; 1 is a crash and is never returned on purpose."""

    PASSED = 0
    USAGE_INVALID = 2
    INPUT_INVALID = 3
    INCONCLUSIVE = 4
    FINDINGS = 10
    INTERRUPTED = 130


class FailOn(StrEnum):
    """What makes a finished check fail for the shell; the outcome itself stays what it is."""

    INCONCLUSIVE = "inconclusive"
    """Whatever is not a pass."""
    FINDINGS = "findings"
    """Findings alone: what could not be measured is let through."""
    NEVER = "never"


def outcome_of_verdict(verdict: Verdict | LogprobVerdict) -> Outcome:
    """Return what one verdict means for the whole."""
    match verdict:
        case Match() | Agrees():
            return Outcome.PASSED
        case Inconclusive():
            return Outcome.INCONCLUSIVE
        case Drift() | Nondeterministic() | Unrecorded() | Vacuous():
            return Outcome.FAILED
        case Shifted() | Outlying() | Invalid():
            return Outcome.FAILED
        case _:
            assert_never(verdict)


def decide(report: GateReport) -> Outcome:
    """Return the outcome of a check: a finding beats the unknown, which beats agreement.

    Nothing checked is inconclusive, never a pass.
    """
    outcomes = {outcome_of_verdict(cell.verdict) for cell in report.cells}
    for part in report.logprobs:
        outcomes |= {outcome_of_verdict(cell.verdict) for cell in part.cells}
    failed = bool(report.orphans) or any(control.failed for control in report.controls)
    if Outcome.FAILED in outcomes or failed or any(map(has_findings, report.logprobs)):
        return Outcome.FAILED
    unproven = any(map(_is_unproven, report.logprobs))
    unproven |= any(control.problem is not None for control in report.controls)
    unknown = unproven or report.interrupted or not report.measured
    if Outcome.INCONCLUSIVE in outcomes or unknown:
        return Outcome.INCONCLUSIVE
    return Outcome.PASSED


def exit_code_for(report: GateReport) -> ExitCode:
    """Return the exit code of a check."""
    if report.interrupted:
        return ExitCode.INTERRUPTED
    return {
        Outcome.PASSED: ExitCode.PASSED,
        Outcome.FAILED: ExitCode.FINDINGS,
        Outcome.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    }[decide(report)]


def shell_code(report: GateReport, fail_on: FailOn) -> ExitCode:
    """Return the exit code that the user wants of a check; an interruption is always told."""
    code = exit_code_for(report)
    match fail_on:
        case FailOn.INCONCLUSIVE:
            forgiven: set[ExitCode] = set()
        case FailOn.FINDINGS:
            forgiven = {ExitCode.INCONCLUSIVE}
        case FailOn.NEVER:
            forgiven = {ExitCode.INCONCLUSIVE, ExitCode.FINDINGS}
        case _:
            assert_never(fail_on)
    return ExitCode.PASSED if code in forgiven else code


def has_findings(part: LogprobReport) -> bool:
    """Return whether anything about a suite of log-probabilities is a finding."""
    cells = any(outcome_of_verdict(cell.verdict) is Outcome.FAILED for cell in part.cells)
    controls = any(control.failed for control in part.controls)
    weights = any(found.failed for found in part.weights)
    drifted = part.suite_test.verdict is SuiteVerdict.DRIFT
    return drifted or cells or bool(part.orphans) or controls or weights


def _is_unproven(part: LogprobReport) -> bool:
    """Tell whether something that a suite asks for could not be determined."""
    return bool(part.uncontrolled) or any(found.inconclusive for found in part.weights)
