"""Snapshots of all texts for GitHub."""

from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion

from repro_gate.core.report import CheckResult, FinishedCheck, UnfinishedCheck
from repro_gate.core.tokens.grade import FailingDrift, GradeWord
from repro_gate.reports.github.annotations import render_annotations
from repro_gate.reports.github.comment import render_comment, render_running
from repro_gate.reports.github.job_summary import render_job_summary
from tests.reports.conftest import gate_report_of, graded_report_of
from tests.reports.github.samples import (
    ARTIFACT,
    INVALID,
    MARKER,
    RUN,
    drifted,
    fixed,
    unmeasured,
)
from tests.reports.served import dependent, steady

EVIDENCES: dict[str, CheckResult | None] = {
    "drifted": FinishedCheck(report=drifted()),
    "fixed": FinishedCheck(report=fixed()),
    "graded": FinishedCheck(report=graded_report_of(FailingDrift.ANY)),
    "undecided": FinishedCheck(
        report=graded_report_of(FailingDrift.BEYOND_ROUNDING, GradeWord.UNDECIDED)
    ),
    "allowed": FinishedCheck(
        report=graded_report_of(FailingDrift.BEYOND_ROUNDING, GradeWord.CONSISTENT)
    ),
    "dependent": FinishedCheck(report=dependent()),
    "steady": FinishedCheck(report=steady()),
    "interrupted": FinishedCheck(report=replace(fixed(), interrupted=True)),
    "interrupted_after_a_finding": FinishedCheck(report=replace(drifted(), interrupted=True)),
    "unmeasured": FinishedCheck(report=unmeasured()),
    "empty": FinishedCheck(report=gate_report_of()),
    "invalid": INVALID,
    "usage": UnfinishedCheck(exit_code=2, message="there is no suite 'x' in the matrix"),
    "crashed": UnfinishedCheck(
        exit_code=1, message="\n".join(f"line {number}" for number in range(40))
    ),
    "killed": None,
}


@pytest.mark.parametrize("name", EVIDENCES)
def test_comment(name: str, snapshot: SnapshotAssertion) -> None:
    """The comment is what it was."""
    body = render_comment(EVIDENCES[name], marker=MARKER, run=RUN, artifact_url=ARTIFACT)

    assert body == snapshot


def test_comment_that_is_cut(snapshot: SnapshotAssertion) -> None:
    """The comment is what it was."""
    body = render_comment(
        EVIDENCES["drifted"], marker=MARKER, run=RUN, artifact_url=ARTIFACT, limit=3_000
    )

    assert body == snapshot


def test_comment_while_the_check_is_running(snapshot: SnapshotAssertion) -> None:
    """The comment is what it was."""
    assert render_running(marker=MARKER, run=RUN) == snapshot


@pytest.mark.parametrize("name", EVIDENCES)
def test_annotations(name: str, snapshot: SnapshotAssertion) -> None:
    """The annotations are what they were."""
    assert render_annotations(EVIDENCES[name], line_of=lambda _: ("a:b,c.json", 7)) == snapshot


@pytest.mark.parametrize("name", ["fixed", "invalid", "killed"])
def test_job_summary(name: str, snapshot: SnapshotAssertion) -> None:
    """The summary is what it was."""
    text = render_job_summary(EVIDENCES[name], run=RUN, note="403: not accessible by integration")

    assert text == snapshot
