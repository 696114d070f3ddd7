"""Log-probabilities for test dashboards."""

from collections.abc import Callable
from xml.etree import ElementTree as ET

from repro_gate.core.logprobs.report import SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Sameness
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.verdicts import Inconclusive, Match
from repro_gate.reports.junit import render_junit
from tests.fakes.logprob_reports import (
    logprob_cell_of,
    logprob_cell_report_of,
    logprob_report_of,
    orphaned_baseline_of,
    suite_test_of,
    unmeasured_of,
    weight_report_of,
)

Build = Callable[..., GateReport]
AGREES = Agrees(sameness=Sameness.IDENTICAL)


def suites_of(report: GateReport) -> list[ET.Element]:
    """Return the test suites that a dashboard reads."""
    return ET.fromstring(render_junit(report)).findall("testsuite")  # noqa: S314 -- our own text


def names_of(suite: ET.Element) -> list[tuple[str | None, str | None]]:
    """Return the class and the name of each case."""
    return [(case.get("classname"), case.get("name")) for case in suite.findall("testcase")]


def test_everything_that_can_fail_is_a_case(logprob_suite_report: Build) -> None:
    """Cells, the whole, controls and weights are cases of the suite."""
    report = logprob_suite_report(
        logprob_cell_report_of(AGREES),
        orphaned_baseline_of("base--gone"),
        weights=(weight_report_of(),),
    )
    (suite,) = suites_of(report)

    assert (suite.get("name"), names_of(suite)) == (
        "hosted",
        [
            ("hosted.base", "base--capital"),
            ("hosted", "base--gone"),
            ("hosted.whole", "the suite as a whole"),
            ("hosted.controls", "base--capital after another prompt"),
            ("hosted.weights", "clone / base"),
        ],
    )


def test_suite_counts_findings_and_the_unknown(rich_logprob_report: GateReport) -> None:
    """Findings are failures, and what was not measured is an error."""
    counted = ("name", "tests", "failures", "errors", "skipped")

    assert [tuple(map(suite.get, counted)) for suite in suites_of(rich_logprob_report)] == [
        ("hosted", "17", "10", "2", "0")
    ]


def test_both_gates_have_their_suites(
    gate_report: Build, cell_report: Callable[..., CellReport]
) -> None:
    """A suite of tokens and one of log-probabilities stand side by side."""
    part = logprob_report_of(logprob_cell_report_of(AGREES))
    report = gate_report(cell_report(Match()), logprobs=(part,))

    assert [suite.get("name") for suite in suites_of(report)] == ["embedded", "hosted"]


def test_missing_key_is_an_error_with_its_remedy(logprob_suite_report: Build) -> None:
    """Nobody takes what was not drawn for a pass: neither a cell nor the whole."""
    lost = Inconclusive(reason="API_KEY is not set", remedy="export API_KEY")
    report = logprob_suite_report(
        unmeasured_of(lost, logprob_cell_of()),
        suite_test=suite_test_of(SuiteVerdict.NOT_TESTED),
        controls=(),
    )
    errors = [error for suite in suites_of(report) for error in suite.iter("error")]

    assert [(error.get("type"), error.text) for error in errors] == [
        (
            "inconclusive",
            "remedy: export API_KEY\nwhat to do: Apply the remedy and check again.",
        ),
        ("not tested", "what to do: Make at least one cell comparable and check again."),
    ]


def test_log_probabilities_alone_have_no_engine_time(logprob_suite_report: Build) -> None:
    """A dashboard shows no zero seconds of an engine that was not there."""
    (suite,) = suites_of(logprob_suite_report(logprob_cell_report_of(AGREES)))

    assert [found.get("name") for found in suite.iter("property")] == [
        "check.outcome",
        "check.tool_version",
        "check.wall_s",
    ]
