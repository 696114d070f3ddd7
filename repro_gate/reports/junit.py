"""The report for test dashboards: JUnit XML as Jenkins, GitLab and GitHub actions read it."""

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from repro_gate.core.controls import ControlReport
from repro_gate.core.outcome import Outcome, decide, outcome_of_verdict
from repro_gate.core.report import CellReport, GateReport
from repro_gate.reports import foreign, summary
from repro_gate.reports.describe import advise, describe, describe_control, describe_former
from repro_gate.reports.explain import evidence, explain
from repro_gate.reports.junit_cases import Case
from repro_gate.reports.junit_logprobs import logprob_cases
from repro_gate.reports.labelled import given
from repro_gate.reports.notes import check_notes

_ORPHANS = "repro-gate.orphans"
_CONTROLS = "repro-gate.controls"
_CHECK = "repro-gate.check"


def render_junit(report: GateReport) -> str:
    """Return the report as JUnit XML."""
    suites = _suites(report)
    root = ET.Element(
        "testsuites",
        {
            "name": "repro-gate",
            **_counts([case for _, cases in suites for case in cases]),
            "time": f"{report.timing.wall_s:.6f}",
        },
    )
    properties = tuple(_properties(report))
    started = foreign.one_line(report.started_at)
    for name, cases in suites:
        suite = ET.SubElement(
            root, "testsuite", {"name": name, **_counts(cases), "timestamp": started}
        )
        _fill_suite(suite, cases, properties)
    if report.notes:
        # Every check has a suite: without one that passed there is the case of the check itself.
        ET.SubElement(root[0], "system-out").text = "\n".join(_note_lines(report))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suites(report: GateReport) -> list[tuple[str, list[Case]]]:
    by_suite: dict[str, list[Case]] = {name: [] for name in report.suites}
    orphans: list[Case] = []
    for cell in report.cells:
        cases = orphans if cell.suite is None else by_suite.setdefault(cell.suite, [])
        cases.append(_cell_case(cell))
    suites = [(foreign.one_line(name), cases) for name, cases in by_suite.items()]
    suites.append((_ORPHANS, orphans))
    suites.append((_CONTROLS, [_control_case(control) for control in report.controls]))
    suites.extend((foreign.one_line(part.suite), logprob_cases(part)) for part in report.logprobs)
    told = [case for _, found in suites for case in found]
    suites.append((_CHECK, list(_check_case(report, told))))
    return [(name, found) for name, found in suites if found]


def _cell_case(cell: CellReport) -> Case:
    said = describe(cell)
    suite = _ORPHANS if cell.suite is None else cell.suite
    explanation = explain(cell)
    lines = [
        *given("tokens", describe_former([cell])),
        *(evidence(explanation) if explanation else ()),
    ]
    changed = tuple(("changed", foreign.change_line(change)) for change in said.suspects)
    remedy = (("remedy", said.remedy),) if said.remedy is not None else ()
    advice = ("what to do", advise(cell.verdict))
    return Case(
        classname=foreign.one_line(f"{suite}.{cell.cell.model}" if cell.cell else suite),
        name=foreign.one_line(cell.id),
        outcome=outcome_of_verdict(cell.verdict),
        kind=cell.verdict.word,
        message=said.claim if said.reason is None else f"{said.claim}: {said.reason}",
        body=[f"{label}: {text}" for label, text in (*lines, *changed, *remedy, advice)],
    )


def _control_case(control: ControlReport) -> Case:
    return Case(
        classname=f"{_CONTROLS}.{foreign.one_line(control.model)}",
        name=f"{foreign.one_line(control.contrast.cell.id)} with another {control.contrast.factor}",
        outcome=_outcome_of(control),
        kind="control",
        message=describe_control(control),
    )


def _outcome_of(control: ControlReport) -> Outcome:
    if control.problem is not None:
        return Outcome.INCONCLUSIVE
    return Outcome.FAILED if control.failed else Outcome.PASSED


def _check_case(report: GateReport, cases: Iterable[Case]) -> Iterable[Case]:
    """Yield the check itself when no case says why it did not pass: no tests look like a pass."""
    outcome = decide(report)
    if outcome is not Outcome.PASSED and all(case.outcome is Outcome.PASSED for case in cases):
        message = summary.outcome_words(report)
        yield Case(
            classname=_CHECK, name="check", outcome=outcome, kind=outcome.value, message=message
        )


def _fill_suite(
    suite: ET.Element, cases: Sequence[Case], properties: Iterable[tuple[str, str]]
) -> None:
    element = ET.SubElement(suite, "properties")
    for key, value in properties:
        ET.SubElement(element, "property", {"name": key, "value": value})
    for case in cases:
        _add_case(suite, case)


def _properties(report: GateReport) -> Iterable[tuple[str, str]]:
    """Yield what is known of the check as a whole; the cells are not timed one by one."""
    timing = report.timing
    yield "check.outcome", decide(report).value
    yield "check.tool_version", foreign.one_line(report.tool_version)
    yield "check.wall_s", f"{timing.wall_s:.6f}"
    if summary.has_engine(report):
        yield "check.load_s", f"{timing.load_s:.6f}"
        yield "check.engine_s", f"{timing.engine_s:.6f}"
        yield "check.generated_tokens", str(timing.generated_tokens)


def _note_lines(report: GateReport) -> Iterable[str]:
    for note in check_notes(report):
        yield f"note: {note.claim}"
        yield from (f"  {label}: {text}" for label, text in note.lines)


def _add_case(suite: ET.Element, case: Case) -> None:
    element = ET.SubElement(suite, "testcase", {"classname": case.classname, "name": case.name})
    if case.outcome is not Outcome.PASSED:
        # Dashboards show <skipped> as nearly a pass, and what was not measured is none.
        tag = "failure" if case.outcome is Outcome.FAILED else "error"
        child = ET.SubElement(element, tag, {"type": case.kind, "message": case.message})
        child.text = "\n".join(case.body)


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    outcomes = [case.outcome for case in cases]
    return {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count(Outcome.FAILED)),
        "errors": str(outcomes.count(Outcome.INCONCLUSIVE)),
        "skipped": "0",
    }
