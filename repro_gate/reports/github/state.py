"""What a run came to, as its comment says it: never better than what is known of the run."""

from typing import assert_never

from repro_gate.core.ci import CiRun
from repro_gate.core.comments import CommentState
from repro_gate.core.evidence import Evidence, Finished, Unfinished
from repro_gate.core.outcome import Outcome, decide
from repro_gate.core.report import GateReport


def state_of(evidence: Evidence | None, run: CiRun) -> CommentState:
    """Return what a run came to; None is a check that left nothing behind."""
    match evidence:
        case None | Unfinished():
            return CommentState.BROKEN
        case Finished(report=report):
            is_denied = is_contradicted(report, run)
            return CommentState.BROKEN if is_denied else _state_of_report(report)
        case _:
            assert_never(evidence)


def is_contradicted(report: GateReport, run: CiRun) -> bool:
    """Tell whether a report of another run speaks of a pass that the CI system does not know of.

    Whoever opened a pull request from a fork decides what its run leaves behind.
    """
    is_denied = run.is_of_another and run.conclusion != "success"
    return is_denied and decide(report) is Outcome.PASSED


def _state_of_report(report: GateReport) -> CommentState:
    outcome = decide(report)
    match outcome:
        case Outcome.PASSED:
            return CommentState.PASSED
        case Outcome.FAILED:
            return CommentState.FAILED
        case Outcome.INCONCLUSIVE:
            # To be interrupted says nothing of what could be measured.
            return CommentState.BROKEN if report.interrupted else CommentState.INCONCLUSIVE
        case _:
            assert_never(outcome)
