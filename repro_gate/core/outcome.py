"""From verdicts to one outcome, and from the outcome to an exit code."""

from enum import IntEnum, StrEnum
from typing import assert_never

from repro_gate.core.report import GateReport
from repro_gate.core.verdicts import (
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphaned,
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


def outcome_of_verdict(verdict: Verdict) -> Outcome:
    """Return what one verdict means for the whole."""
    match verdict:
        case Match():
            return Outcome.PASSED
        case Inconclusive():
            return Outcome.INCONCLUSIVE
        case Drift() | Nondeterministic() | Unrecorded() | Orphaned() | Vacuous():
            return Outcome.FAILED
        case _:
            assert_never(verdict)


def decide(report: GateReport) -> Outcome:
    """Return the outcome of a check: a finding beats the unknown, which beats agreement.

    Nothing checked is inconclusive, never a pass.
    """
    outcomes = {outcome_of_verdict(cell.verdict) for cell in report.cells}
    if Outcome.FAILED in outcomes or any(control.failed for control in report.controls):
        return Outcome.FAILED
    if Outcome.INCONCLUSIVE in outcomes or report.interrupted or not report.measured:
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
