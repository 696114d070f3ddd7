"""Snapshots of each report on a check with every verdict."""

import json
from collections.abc import Callable

import pytest
from syrupy.assertion import SnapshotAssertion

from repro_gate.core.report import GateReport, result_of
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.reports.findings.summary import render_summary
from repro_gate.reports.json import summary_data
from repro_gate.reports.junit import render_junit
from repro_gate.reports.markdown import render_markdown
from tests.reports.conftest import graded_report_of


def _summary(report: GateReport) -> str:
    return json.dumps(summary_data(result_of(report)), indent=2)


def test_json_of_every_verdict(rich_report: GateReport, snapshot: SnapshotAssertion) -> None:
    """The part of the JSON report that is made for people is what it was."""
    assert _summary(rich_report) == snapshot


def test_markdown_of_every_verdict(rich_report: GateReport, snapshot: SnapshotAssertion) -> None:
    """The Markdown report is what it was."""
    assert render_markdown(rich_report) == snapshot


def test_junit_of_every_verdict(rich_report: GateReport, snapshot: SnapshotAssertion) -> None:
    """The JUnit report is what it was."""
    assert render_junit(rich_report) == snapshot


def test_terminal_of_every_verdict(
    rich_report: GateReport,
    on_terminal: Callable[[GateReport], str],
    snapshot: SnapshotAssertion,
) -> None:
    """The terminal report is what it was."""
    assert on_terminal(rich_report) == snapshot


def test_summary_of_every_verdict(rich_report: GateReport, snapshot: SnapshotAssertion) -> None:
    """The summary is what it was."""
    assert render_summary(rich_report) == snapshot


@pytest.mark.parametrize("fail_on", FailingDrift)
def test_grades_in_every_report(
    fail_on: FailingDrift, on_terminal: Callable[[GateReport], str], snapshot: SnapshotAssertion
) -> None:
    """Every report shows the grades of drift, and what a suite lets pass."""
    report = graded_report_of(fail_on)

    assert on_terminal(report) == snapshot(name="terminal")
    assert render_markdown(report) == snapshot(name="markdown")
    assert render_junit(report) == snapshot(name="junit")
    assert _summary(report) == snapshot(name="json")


def test_json_of_every_verdict_on_log_probabilities(
    rich_logprob_report: GateReport, snapshot: SnapshotAssertion
) -> None:
    """The part of the JSON report that is made for people is what it was."""
    assert _summary(rich_logprob_report) == snapshot


def test_markdown_of_every_verdict_on_log_probabilities(
    rich_logprob_report: GateReport, snapshot: SnapshotAssertion
) -> None:
    """The Markdown report is what it was."""
    assert render_markdown(rich_logprob_report) == snapshot


def test_junit_of_every_verdict_on_log_probabilities(
    rich_logprob_report: GateReport, snapshot: SnapshotAssertion
) -> None:
    """The JUnit report is what it was."""
    assert render_junit(rich_logprob_report) == snapshot


def test_summary_of_every_verdict_on_log_probabilities(
    rich_logprob_report: GateReport, snapshot: SnapshotAssertion
) -> None:
    """The summary is what it was."""
    assert render_summary(rich_logprob_report) == snapshot


def test_terminal_of_every_verdict_on_log_probabilities(
    rich_logprob_report: GateReport,
    on_terminal: Callable[[GateReport], str],
    snapshot: SnapshotAssertion,
) -> None:
    """The terminal report is what it was."""
    assert on_terminal(rich_logprob_report) == snapshot
