"""The result of a run: its state, its verdicts in one line, and why there is none."""

from collections import Counter
from collections.abc import Iterator
from typing import Final, assert_never

from repro_gate.core.comments import CiRun, CommentState
from repro_gate.core.logprobs.report import SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees
from repro_gate.core.outcome import ExitCode, Outcome, decide, outcome_of_cell
from repro_gate.core.report import CheckResult, FinishedCheck, GateReport, UnfinishedCheck
from repro_gate.core.tokens.grade import GradeWord
from repro_gate.core.tokens.verdicts import Drift, Match
from repro_gate.reports.findings.grades import format_grades, outcomes_of_drifts
from repro_gate.reports.findings.logprob_wording import LOGPROB_WORDS
from repro_gate.reports.findings.wording import WORDS, format_counts
from repro_gate.reports.text.escape import clipped
from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import Block, code, fence

_NOTHING: Final = "nothing was checked"
_PASSING: Final = (Match.word, Agrees.word)
_OTHERS: Final = [word for word in dict.fromkeys((*WORDS, *LOGPROB_WORDS)) if word not in _PASSING]


def tally(report: GateReport) -> str:
    """Return how many cells have each verdict, failures first and bold."""
    counts = Counter(report.counts)
    for part in report.logprobs:
        counts.update(part.counts)
    allowed = outcomes_of_drifts(report).get(Outcome.PASSED, 0)
    passed = {**{word: counts[word] for word in _PASSING}, Drift.word: allowed}
    counts[Drift.word] -= allowed
    rest = [cell for cell in report.cells if outcome_of_cell(cell, report) is not Outcome.PASSED]
    graded = format_grades(rest, report, of=counts[Drift.word])
    others = [format_counts(counts, _OTHERS, drifts=graded), *_beyond_cells(report)]
    wrong = ", ".join(filter(None, others))
    passing = format_counts(passed, drifts=f" ({GradeWord.CONSISTENT})", words=tuple(passed))
    return "; ".join(filter(None, [f"**{wrong}**" if wrong else "", passing])) or _NOTHING


def _beyond_cells(report: GateReport) -> Iterator[str]:
    """Yield the failures that are not verdicts on a cell."""
    parts = report.logprobs
    moved = sum(part.suite_test.verdict is SuiteVerdict.DRIFT for part in parts)
    weights = sum(found.failed for part in parts for found in part.weights)
    undetermined = sum(found.inconclusive for part in parts for found in part.weights)
    controls = sum(control.failed for control in report.controls)
    controls += sum(control.failed for part in parts for control in part.controls)
    uncontrolled = sum(len(part.uncontrolled) for part in parts)
    if moved:
        yield f"{plural(moved, 'suite')} shifted as a whole"
    if weights:
        yield f"{plural(weights, 'set')} of weights not usable"
    if undetermined:
        yield f"{plural(undetermined, 'set')} of weights undetermined"
    if controls:
        yield f"{plural(controls, 'control')} without a difference"
    if uncontrolled:
        policies = "1 policy" if uncontrolled == 1 else f"{uncontrolled} policies"
        yield f"{policies} without a control"


def state_of(result: CheckResult | None, run: CiRun) -> CommentState:
    """Return the state of a comment for a result; None when the check left no result."""
    match result:
        case None | UnfinishedCheck():
            return CommentState.BROKEN
        case FinishedCheck(report=report):
            is_denied = is_contradicted(report, run)
            return CommentState.BROKEN if is_denied else _state_of_report(report)
        case _:
            assert_never(result)


def is_contradicted(report: GateReport, run: CiRun) -> bool:
    """Tell whether another run's report claims a pass that its conclusion does not confirm.

    The author of a pull request from a fork controls the artifacts of its run.
    """
    is_denied = run.from_workflow_run and run.conclusion != "success"
    return is_denied and decide(report) is Outcome.PASSED


def _state_of_report(report: GateReport) -> CommentState:
    outcome = decide(report)
    match outcome:
        case Outcome.PASSED:
            return CommentState.PASSED
        case Outcome.FAILED:
            return CommentState.FAILED
        case Outcome.INCONCLUSIVE:
            # An interruption does not show that something could not be measured.
            return CommentState.BROKEN if report.interrupted else CommentState.INCONCLUSIVE
        case _:
            assert_never(outcome)


_MAX_LINES: Final = 30
_MAX_LINE_LENGTH: Final = 300
_MAX_REMEDY_LENGTH: Final = 400
_DOWNLOAD: Final = (
    "Check the artifact download step of the commenting workflow: it needs the "
    "permission `actions: read` and the name of the artifact. Artifacts expire."
)
_REASONS: Final = {
    ExitCode.USAGE_INVALID: "invalid command line",
    ExitCode.INPUT_INVALID: "a file is invalid",
    ExitCode.INCONCLUSIVE: "nothing could be measured",
    ExitCode.INTERRUPTED: "the check was interrupted",
}


def explain_no_verdict(result: CheckResult | None, run: CiRun) -> str:
    """Return why there is no verdict."""
    match result:
        case None if _is_lost(run):
            return "the result of the check could not be read"
        case None:
            return "the check left no result"
        case UnfinishedCheck(exit_code=exit_code):
            known = [reason for code, reason in _REASONS.items() if code == exit_code]
            return known[0] if known else "the check could not run"
        case FinishedCheck(report=report):
            if is_contradicted(report, run):
                return "the run's conclusion contradicts its report"
            return "the check was interrupted"
        case _:
            assert_never(result)


def no_verdict_blocks(result: CheckResult | None, run: CiRun) -> Iterator[Block]:
    """Yield what happened instead of a verdict, and what to do about it."""
    match result:
        case None:
            yield from _nothing(run)
        case UnfinishedCheck():
            yield from _unfinished(result)
        case FinishedCheck(report=report) if is_contradicted(report, run):
            denial = _conclusion(run)
            yield [f"The report shows a pass, which the run does not confirm. {denial}"]
        case FinishedCheck(report=report):
            yield [f"Partial results, not a verdict: {tally(report)}."]
        case _:
            assert_never(result)


def _is_lost(run: CiRun) -> bool:
    """Tell whether a result exists but was not found: no run succeeds without one."""
    return run.from_workflow_run and run.conclusion == "success"


def _nothing(run: CiRun) -> Iterator[Block]:
    if run.from_workflow_run:
        yield [f"No result of the run could be read. {_conclusion(run)}"]
    if not _is_lost(run):
        ended = "It may have been killed, timed out or never started."
        yield [
            f"{ended} Nothing is known about this commit.",
            "If the machine ran out of memory or time, give it more or shard the matrix.",
        ]
    if run.from_workflow_run:
        yield [_DOWNLOAD]


def _conclusion(run: CiRun) -> str:
    conclusion = "none" if run.conclusion is None else code(clipped(run.conclusion, 40))
    return f"Conclusion of the run: {conclusion}."


def _unfinished(result: UnfinishedCheck) -> Iterator[Block]:
    yield [f"The check ended with exit code {result.exit_code} and this message:"]
    lines = [clipped(line, _MAX_LINE_LENGTH) for line in result.message.splitlines()]
    more = len(lines) - _MAX_LINES
    yield fence([*lines[:_MAX_LINES], *([f"and {more} more lines"] if more > 0 else [])], "text")
    if result.remedy is not None:
        yield [f"Remedy: {code(clipped(result.remedy, _MAX_REMEDY_LENGTH))}"]
