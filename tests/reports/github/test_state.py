"""The state of a result is never better than the evidence."""

from dataclasses import replace

import pytest

from repro_gate.core.comments import CiRun, CommentState
from repro_gate.core.report import CheckResult, FinishedCheck, GateReport
from repro_gate.reports.github.comment import render_comment
from repro_gate.reports.github.job_summary import render_job_summary
from repro_gate.reports.github.state import state_of
from tests.reports.github.samples import ARTIFACT, INVALID, MARKER, RUN, drifted, fixed, unmeasured

ANOTHER = replace(RUN, from_workflow_run=True)


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (FinishedCheck(report=fixed()), CommentState.PASSED),
        (FinishedCheck(report=drifted()), CommentState.FAILED),
        (FinishedCheck(report=unmeasured()), CommentState.INCONCLUSIVE),
        (FinishedCheck(report=replace(fixed(), interrupted=True)), CommentState.BROKEN),
        (FinishedCheck(report=replace(unmeasured(), interrupted=True)), CommentState.BROKEN),
        (FinishedCheck(report=replace(drifted(), interrupted=True)), CommentState.FAILED),
        (INVALID, CommentState.BROKEN),
        (None, CommentState.BROKEN),
    ],
)
def test_the_state_is_that_of_the_evidence(result: CheckResult | None, state: CommentState) -> None:
    """Only a complete report can pass."""
    assert state_of(result, RUN) is state


@pytest.mark.parametrize(
    ("report", "conclusion", "state"),
    [
        (fixed(), "success", CommentState.PASSED),
        (fixed(), "failure", CommentState.BROKEN),
        (fixed(), "cancelled", CommentState.BROKEN),
        (fixed(), None, CommentState.BROKEN),
        (drifted(), "failure", CommentState.FAILED),
        (drifted(), "success", CommentState.FAILED),
        (unmeasured(), "failure", CommentState.INCONCLUSIVE),
    ],
)
def test_a_pass_of_another_run_needs_its_success(
    report: GateReport, conclusion: str | None, state: CommentState
) -> None:
    """A fork's report is not trusted beyond the conclusion of its run."""
    run = replace(ANOTHER, conclusion=conclusion)

    assert state_of(FinishedCheck(report=report), run) is state


def test_own_run_has_no_conclusion_yet() -> None:
    """A run that publishes its own result has only the report."""
    assert (
        state_of(FinishedCheck(report=fixed()), replace(RUN, conclusion=None))
        is CommentState.PASSED
    )


@pytest.mark.parametrize(
    ("conclusion", "shown"),
    [("failure", "`failure`"), ("`x` @you", "`` `x` @you ``"), (None, "none")],
)
def test_a_contradicted_pass_is_no_verdict(conclusion: str | None, shown: str) -> None:
    """Neither comment nor job summary shows the claimed pass."""
    result, run = FinishedCheck(report=fixed()), replace(ANOTHER, conclusion=conclusion)
    texts = (
        render_comment(result, marker=MARKER, run=run, artifact_url=ARTIFACT),
        render_job_summary(result, run=run, note=None),
    )

    for text in texts:
        assert "⛔ No verdict: the run's conclusion contradicts its report, at " in text
        denied = "The report shows a pass, which the run does not confirm."
        assert f"{denied} Conclusion of the run: {shown}." in text
        assert "✅" not in text
        assert "24 match" not in text


KILLED = "It may have been killed, timed out or never started."
DOWNLOAD = "Check the artifact download step of the commenting workflow: it needs the "


@pytest.mark.parametrize(
    ("run", "why", "shown"),
    [
        (RUN, "the check left no result", (KILLED,)),
        (
            replace(ANOTHER, conclusion="success"),
            "the result of the check could not be read",
            ("Conclusion of the run: `success`.", DOWNLOAD),
        ),
        (
            replace(ANOTHER, conclusion="failure"),
            "the check left no result",
            ("Conclusion of the run: `failure`.", KILLED, DOWNLOAD),
        ),
        (
            replace(ANOTHER, conclusion="timed_out"),
            "the check left no result",
            ("Conclusion of the run: `timed_out`.", KILLED, DOWNLOAD),
        ),
        (
            replace(ANOTHER, conclusion=None),
            "the check left no result",
            ("Conclusion of the run: none.", KILLED, DOWNLOAD),
        ),
    ],
)
def test_a_missing_result_is_explained_by_the_run(
    run: CiRun, why: str, shown: tuple[str, ...]
) -> None:
    """A run that succeeded was not killed."""
    body = render_comment(None, marker=MARKER, run=run, artifact_url=None)
    possible = ("Conclusion of the run: ", KILLED, DOWNLOAD)

    assert f"⛔ No verdict: {why}, at " in body
    assert all(each in body for each in shown)
    assert sum(each in body for each in possible) == len(shown)


def test_the_marker_has_the_state_of_the_comment() -> None:
    """A wrong state would mislead the next run."""
    passing = replace(MARKER, state=CommentState.PASSED)
    body = render_comment(None, marker=passing, run=RUN, artifact_url=None)

    assert body.startswith(f"{replace(MARKER, state=CommentState.BROKEN)}\n")
