"""The report for test dashboards."""

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Inconclusive, Match
from repro_gate.reports.junit import render_junit

Found = Callable[..., CellReport]
Build = Callable[..., GateReport]


def suites_of(report: GateReport) -> list[ET.Element]:
    """Return the test suites that a dashboard reads."""
    return ET.fromstring(render_junit(report)).findall("testsuite")  # noqa: S314 -- our own text


def cases_of(report: GateReport) -> list[ET.Element]:
    """Return the test cases of all suites."""
    return [case for suite in suites_of(report) for case in suite.findall("testcase")]


def test_suites_controls_and_orphans_stand_apart(rich_report: GateReport) -> None:
    """Each suite counts its own cases."""
    counted = ("name", "tests", "failures", "errors")
    assert [tuple(map(suite.get, counted)) for suite in suites_of(rich_report)] == [
        ("embedded", "9", "6", "2"),
        ("repro-gate.orphans", "2", "2", "0"),
        ("repro-gate.controls", "2", "1", "0"),
    ]


def test_root_counts_everything_and_has_the_time(rich_report: GateReport) -> None:
    """The time is that of the check; nothing pretends that cells were timed."""
    root = ET.fromstring(render_junit(rich_report))  # noqa: S314 -- our own text

    assert root.attrib == {
        "name": "repro-gate",
        "tests": "13",
        "failures": "9",
        "errors": "2",
        "skipped": "0",
        "time": "12.500000",
    }


def test_match_is_a_bare_case(gate_report: Build, cell_report: Found) -> None:
    """A passing case is named for its suite, model and cell."""
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
    """The body of a failure says what the other reports say."""
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
    """What was not measured is no failure, and nothing that looks like a pass."""
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
    """A file without test cases would be read as a pass."""
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
    """A partial check has a case that says so, when no cell does."""
    report = replace(gate_report(cell_report(Match())), interrupted=True)

    assert [[child.tag for child in case] for case in cases_of(report)] == [[], ["error"]]


def test_suite_that_the_check_does_not_name_is_kept(gate_report: Build, cell_report: Found) -> None:
    """No cell is lost because its suite was not listed."""
    report = gate_report(cell_report(Match()), suites=())

    assert [suite.get("name") for suite in suites_of(report)] == ["embedded"]
