"""The report for test dashboards."""

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

from repro_gate.core.logprobs.report import SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import FactChange
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
from tests.reports.served import dependent

Found = Callable[..., CellReport]
Build = Callable[..., GateReport]


def suites_of(report: GateReport) -> list[ET.Element]:
    """Return the test suites that a dashboard reads."""
    return ET.fromstring(render_junit(report)).findall("testsuite")  # noqa: S314 -- our own text


def cases_of(report: GateReport) -> list[ET.Element]:
    """Return the test cases of all suites."""
    return [case for suite in suites_of(report) for case in suite.findall("testcase")]


def test_suites_controls_and_orphans_are_separate_suites(rich_report: GateReport) -> None:
    """Each suite counts its own cases."""
    counted = ("name", "tests", "failures", "errors")
    assert [tuple(map(suite.get, counted)) for suite in suites_of(rich_report)] == [
        ("embedded", "10", "7", "2"),
        ("repro-gate.orphans", "2", "2", "0"),
        ("repro-gate.controls", "2", "1", "0"),
    ]


def test_root_counts_everything_and_has_the_time(rich_report: GateReport) -> None:
    """The time is that of the check; cells are not timed."""
    root = ET.fromstring(render_junit(rich_report))  # noqa: S314 -- our own text

    assert root.attrib == {
        "name": "repro-gate",
        "tests": "14",
        "failures": "10",
        "errors": "2",
        "skipped": "0",
        "time": "12.500000",
    }


def test_match_is_a_bare_case(gate_report: Build, cell_report: Found) -> None:
    """A passing case has its suite, model and cell in its names."""
    (case,) = cases_of(gate_report(cell_report(Match())))

    assert (case.attrib, list(case)) == (
        {"classname": "embedded.tiny-qwen2", "name": "tiny-qwen2--autumn-leaves--seed42"},
        [],
    )


def test_drift_is_a_failure_with_its_evidence(
    gate_report: Build,
    drift: Found,
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
) -> None:
    """The body has the lines of the other reports."""
    changed = FactChange(name="device.driver", before="1", after="2")
    found = drift(generation("a", traced=False), generation("b", traced=False), cell(), changed)
    (case,) = cases_of(gate_report(found))

    (failure,) = case
    assert (failure.tag, failure.get("type")) == ("failure", "drift")
    assert (failure.text or "").splitlines() == [
        "context: none (first token)",
        'golden: 129 " a"',
        'observed: 130 " b"',
        'golden continues: " a"',
        'observed continues: " b"',
        "changed: device.driver: 1 -> 2",
        "what to do: If the change is intended, accept it. Otherwise start with what changed.",
    ]


def test_inconclusive_is_an_error(gate_report: Build, cell_report: Found) -> None:
    """It is neither a failure nor anything like a pass."""
    (case,) = cases_of(gate_report(cell_report(Inconclusive(reason="no device", remedy=None))))

    (error,) = case
    assert (error.tag, error.attrib) == (
        "error",
        {
            "type": "inconclusive",
            "message": "not measured, so neither a pass nor drift: no device",
        },
    )


def test_check_of_nothing_is_an_error(gate_report: Build) -> None:
    """A file without test cases would look like a pass."""
    (case,) = cases_of(gate_report())

    (error,) = case
    assert (case.get("classname"), error.tag, error.get("message")) == (
        "repro-gate.check",
        "error",
        "nothing was measured",
    )


def test_interruption_after_the_last_cell_is_an_error(
    gate_report: Build, cell_report: Found
) -> None:
    """A partial check has a case for it if no cell shows it."""
    report = replace(gate_report(cell_report(Match())), interrupted=True)

    assert [[child.tag for child in case] for case in cases_of(report)] == [[], ["error"]]


def test_a_suite_that_the_report_does_not_list_is_kept(
    gate_report: Build, cell_report: Found
) -> None:
    """No cell is lost."""
    report = gate_report(cell_report(Match()), suites=())

    assert [suite.get("name") for suite in suites_of(report)] == ["embedded"]


AGREES = Agrees(equivalence=Equivalence.IDENTICAL)


def names_of(suite: ET.Element) -> list[tuple[str | None, str | None]]:
    """Return the class and the name of each case."""
    return [(case.get("classname"), case.get("name")) for case in suite.findall("testcase")]


def test_everything_that_can_fail_is_a_case(logprob_suite_report: Build) -> None:
    """Cells, the suite as a whole, controls and weights are cases."""
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


def test_a_suite_counts_failures_and_errors(rich_logprob_report: GateReport) -> None:
    """What was not measured is an error."""
    counted = ("name", "tests", "failures", "errors", "skipped")

    assert [tuple(map(suite.get, counted)) for suite in suites_of(rich_logprob_report)] == [
        ("hosted", "17", "10", "2", "0")
    ]


def test_both_gates_have_their_suites(
    gate_report: Build, cell_report: Callable[..., CellReport]
) -> None:
    """Tokens and log-probabilities are separate suites."""
    part = logprob_report_of(logprob_cell_report_of(AGREES))
    report = gate_report(cell_report(Match()), logprobs=(part,))

    assert [suite.get("name") for suite in suites_of(report)] == ["embedded", "hosted"]


def test_missing_key_is_an_error_with_its_remedy(logprob_suite_report: Build) -> None:
    """Neither the cell nor the suite as a whole looks like a pass."""
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
    """There are no zero seconds of an engine that did not run."""
    (suite,) = suites_of(logprob_suite_report(logprob_cell_report_of(AGREES)))

    assert [found.get("name") for found in suite.iter("property")] == [
        "check.outcome",
        "check.tool_version",
        "check.wall_s",
    ]


def test_a_cell_that_depends_on_a_mode_has_its_differences() -> None:
    """The table of modes is in the output of the first suite."""
    failures = [case.find("failure") for case in cases_of(dependent())]
    texts = [found.text or "" for found in failures if found is not None]
    output = suites_of(dependent())[0].findtext("system-out") or ""

    assert "concurrent-8: 2 of 8 answers have other tokens, first at output[5]" in texts[0]
    assert "remedy: --flash-attn off --cache-type-k f32" in texts[0]
    assert output.startswith("modes of smollm2 in suite served\n  mode          required  result")
