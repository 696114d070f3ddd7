"""From verdicts to one outcome, and from the outcome to an exit code."""

from collections.abc import Collection, Iterator
from enum import IntEnum, StrEnum
from typing import assert_never

from repro_gate.core.logprobs.report import LogprobReport, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Invalid, LogprobVerdict, Outlying, Shifted
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.grade import FailingDrift, Grade, GradeWord
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
    Verdict,
)


class Outcome(StrEnum):
    """The outcome of a whole check."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class ExitCode(IntEnum):
    """The exit codes; 1 is a crash and never returned on purpose."""

    PASSED = 0
    USAGE_INVALID = 2
    INPUT_INVALID = 3
    INCONCLUSIVE = 4
    FINDINGS = 10
    INTERRUPTED = 130


class FailOn(StrEnum):
    """Which outcomes give a non-zero exit code; the outcome itself is unaffected."""

    INCONCLUSIVE = "inconclusive"
    """Every outcome but a pass."""
    FINDINGS = "findings"
    """Findings only."""
    NEVER = "never"


def outcome_of_verdict(verdict: Verdict | LogprobVerdict) -> Outcome:
    """Return the outcome of one verdict."""
    match verdict:
        case Match() | Agrees():
            return Outcome.PASSED
        case Inconclusive():
            return Outcome.INCONCLUSIVE
        case Drift() | Depends() | Nondeterministic() | Unrecorded() | Vacuous():
            return Outcome.FAILED
        case Shifted() | Outlying() | Invalid():
            return Outcome.FAILED
        case _:
            assert_never(verdict)


def outcome_of_cell(cell: CellReport, report: GateReport) -> Outcome:
    """Return the outcome of one cell; of a drift by its grade, where the suite asks for that."""
    grade = report.grade_of(cell)
    if grade is None or grade.fail_on is FailingDrift.ANY:
        return outcome_of_verdict(cell.verdict)
    by_grade = _outcome_of_grade(grade)
    # The runs that were not made could have differed.
    return worst({by_grade, _unknown_if(cell.unfinished is not None)})


def _outcome_of_grade(grade: Grade) -> Outcome:
    match grade.word:
        case GradeWord.CONSISTENT:
            return Outcome.PASSED
        case GradeWord.UNDECIDED:
            return Outcome.INCONCLUSIVE
        case GradeWord.BEYOND:
            return Outcome.FAILED
        case _:
            assert_never(grade.word)


def decide(report: GateReport, *, waived: Collection[int] = ()) -> Outcome:
    """Return the outcome of a check: a finding beats inconclusive, which beats a pass.

    Nothing checked is inconclusive, never a pass.

    Args:
        report: the results.
        waived: by `id()`, the cells whose verdicts do not count.
    """
    outcomes = {outcome_of_cell(cell, report) for cell in report.cells if id(cell) not in waived}
    outcomes |= {_failed_if(control.failed) for control in report.controls}
    outcomes |= {_unknown_if(control.problem is not None) for control in report.controls}
    outcomes.add(_failed_if(bool(report.orphans)))
    outcomes.update(*(_outcomes_of_suite(part, waived) for part in report.logprobs))
    outcomes.add(_unknown_if(report.interrupted or not report.measured))
    return worst(outcomes)


def outcome_of_suite(part: LogprobReport, *, interrupted: bool = False) -> Outcome:
    """Return the outcome that the check would have if this suite were all of it."""
    is_unknown = interrupted or not part.measured
    return worst({*_outcomes_of_suite(part), _unknown_if(is_unknown)})


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
    """Return the exit code under a `--fail-on` policy; an interruption always keeps its code."""
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


def worst(outcomes: Collection[Outcome]) -> Outcome:
    """Return the outcome of several: a finding beats inconclusive, which beats a pass."""
    order = (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)
    return next(outcome for outcome in order if outcome in outcomes)


def _outcomes_of_suite(part: LogprobReport, waived: Collection[int] = ()) -> Iterator[Outcome]:
    yield from (outcome_of_verdict(cell.verdict) for cell in part.cells if id(cell) not in waived)
    yield _failed_if(bool(part.orphans) or part.suite_test.verdict is SuiteVerdict.DRIFT)
    yield from (_failed_if(control.failed) for control in part.controls)
    yield from (_failed_if(found.failed) for found in part.weights)
    yield from (_unknown_if(found.inconclusive) for found in part.weights)
    yield _unknown_if(bool(part.uncontrolled))


def _failed_if(condition: bool) -> Outcome:  # noqa: FBT001 -- what makes it failed
    return Outcome.FAILED if condition else Outcome.PASSED


def _unknown_if(condition: bool) -> Outcome:  # noqa: FBT001 -- what makes it inconclusive
    return Outcome.INCONCLUSIVE if condition else Outcome.PASSED
