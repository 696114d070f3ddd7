"""The report for test dashboards: JUnit XML, as Jenkins, GitLab and GitHub actions read it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from repro_gate.core.logprobs.report import LogprobReport
from repro_gate.core.outcome import Outcome, decide, outcome_of_cell, outcome_of_verdict
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.controls import ControlReport
from repro_gate.core.tokens.verdicts import Drift, Orphan
from repro_gate.reports.findings import summary
from repro_gate.reports.findings.divergence import evidence, explain
from repro_gate.reports.findings.grades import describe_graded
from repro_gate.reports.findings.logprob_evidence import logprob_lines
from repro_gate.reports.findings.logprob_wording import (
    describe_logprob_control,
    describe_logprobs,
    describe_suite_test,
    describe_weights,
    format_pair,
    outcome_of_suite_test,
    outcome_of_weights,
    suite_test_lines,
    weight_lines,
)
from repro_gate.reports.findings.modes import invariances, mode_lines, mode_table
from repro_gate.reports.findings.notes import check_notes
from repro_gate.reports.findings.tokens import grade_findings
from repro_gate.reports.findings.wording import (
    Description,
    describe_control,
    describe_former,
    describe_orphan,
)
from repro_gate.reports.text.escape import Escaped, format_change, one_line, optional
from repro_gate.reports.text.format import columns

_ORPHANS = "repro-gate.orphans"
_CONTROLS = "repro-gate.controls"
_CHECK = "repro-gate.check"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One test case; an unescaped control character would make the XML invalid."""

    classname: Escaped
    name: Escaped
    outcome: Outcome
    kind: str
    message: Escaped
    body: Sequence[Escaped] = ()


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
    started, properties = one_line(report.started_at), tuple(_properties(report))
    for name, cases in suites:
        attributes = {"name": name, **_counts(cases), "timestamp": started}
        _fill_suite(ET.SubElement(root, "testsuite", attributes), cases, properties)
    output = [*_mode_lines(report), *_grade_lines(report), *_note_lines(report)]
    if output:
        # Every check has a suite: if nothing was checked, that of the check itself.
        ET.SubElement(root[0], "system-out").text = "\n".join(output)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suites(report: GateReport) -> list[tuple[Escaped, list[_Case]]]:
    by_suite: dict[str, list[_Case]] = {name: [] for name in report.suites}
    for cell in report.cells:
        by_suite.setdefault(cell.suite, []).append(_cell_case(cell, report))
    suites = [
        *by_suite.items(),
        (_ORPHANS, [_orphan_case(orphan, _ORPHANS, "golden") for orphan in report.orphans]),
        (_CONTROLS, [_control_case(control) for control in report.controls]),
        *((part.suite, list(_logprob_cases(part))) for part in report.logprobs),
    ]
    named = [(one_line(name), cases) for name, cases in suites if cases]
    if not any(case.outcome is not Outcome.PASSED for _, cases in named for case in cases):
        named.extend((one_line(_CHECK), [case]) for case in _check_case(report))
    return named


def _cell_case(cell: CellReport, report: GateReport) -> _Case:
    former, explanation = describe_former([cell]), explain(cell)
    lines = [
        *([] if former is None else [("tokens", former)]),
        *mode_lines([cell]),
        *(evidence(explanation) if explanation else ()),
    ]
    return _case(
        f"{cell.suite}.{cell.cell.model}",
        cell.id,
        (outcome_of_cell(cell, report), cell.verdict.word),
        describe_graded(cell, report),
        lines,
    )


def _orphan_case(orphan: Orphan, classname: str, recorded: str) -> _Case:
    failed = (Outcome.FAILED, orphan.word)
    return _case(classname, orphan.id, failed, describe_orphan(recorded))


def _control_case(control: ControlReport) -> _Case:
    contrast = control.contrast
    outcome = Outcome.FAILED if control.failed else Outcome.PASSED
    return _case(
        f"{_CONTROLS}.{control.model}",
        f"{contrast.cell.id} with another {contrast.factor}",
        (outcome if control.problem is None else Outcome.INCONCLUSIVE, "control"),
        describe_control(control),
    )


def _logprob_cases(part: LogprobReport) -> Iterator[_Case]:
    """Yield a case for everything of a suite of log-probabilities that can fail."""
    for cell in part.cells:
        yield _case(
            f"{part.suite}.{cell.cell.policy.name}",
            cell.id,
            (outcome_of_verdict(cell.verdict), cell.verdict.word),
            describe_logprobs(cell),
            logprob_lines(cell),
        )
    yield from (_orphan_case(orphan, part.suite, "baseline") for orphan in part.orphans)
    yield _case(
        f"{part.suite}.whole",
        "the suite as a whole",
        (outcome_of_suite_test(part.suite_test.verdict), part.suite_test.verdict.value),
        describe_suite_test(part.suite_test),
        suite_test_lines(part.suite_test, part.tolerance),
    )
    for control in part.controls:
        yield _case(
            f"{part.suite}.controls",
            f"{control.cell} after another prompt",
            (Outcome.FAILED if control.failed else Outcome.PASSED, "control"),
            describe_logprob_control(control),
        )
    for found in part.weights:
        yield _case(
            f"{part.suite}.weights",
            format_pair(found),
            (outcome_of_weights(found), "weights"),
            describe_weights(found),
            weight_lines(found),
        )


def _case(
    classname: str,
    name: str,
    result: tuple[Outcome, str],
    description: Description,
    lines: Iterable[tuple[str, str]] = (),
) -> _Case:
    """Return a case; a result is an outcome, and a verdict or the kind of check."""
    reason = "" if description.reason is None else f": {description.reason}"
    changed = [("changed", format_change(change)) for change in description.suspects]
    graded = optional("grade", description.grade)
    body = [*graded, *lines, *changed, *optional("remedy", description.remedy)]
    return _Case(
        classname=one_line(classname),
        name=one_line(name),
        outcome=result[0],
        kind=result[1],
        message=one_line(f"{description.claim}{reason}"),
        body=[one_line(f"{label}: {text}") for label, text in body]
        + [one_line(f"what to do: {description.advice}")],
    )


def _check_case(report: GateReport) -> Iterator[_Case]:
    """Yield a case for the check itself, so that no dashboard takes an empty report for a pass."""
    outcome = decide(report)
    if outcome is not Outcome.PASSED:
        yield _Case(
            classname=one_line(_CHECK),
            name=one_line("check"),
            outcome=outcome,
            kind=outcome.value,
            message=one_line(summary.explain_outcome(report)),
        )


def _mode_lines(report: GateReport) -> Iterable[str]:
    for row in invariances(report.cells):
        yield one_line(f"modes of {row.model} in suite {row.suite}")
        yield from (f"  {text}" for text in columns(mode_table(row)))


def _grade_lines(report: GateReport) -> Iterable[str]:
    for finding in grade_findings(report):
        yield f"{finding.word}: {finding.subject}: {finding.description.claim}"
        yield from (f"  {label}: {text}" for label, text in finding.details)


def _note_lines(report: GateReport) -> Iterable[str]:
    for note in check_notes(report):
        yield f"note: {note.claim}"
        yield from (f"  {label}: {text}" for label, text in note.lines)


def _fill_suite(
    suite: ET.Element, cases: Sequence[_Case], properties: Sequence[tuple[str, str]]
) -> None:
    element = ET.SubElement(suite, "properties")
    for key, value in properties:
        ET.SubElement(element, "property", {"name": key, "value": value})
    for case in cases:
        _add_case(suite, case)


def _properties(report: GateReport) -> Iterable[tuple[str, str]]:
    """Yield the outcome, the version and the times of a check; cells are not timed."""
    timing = report.timing
    yield "check.outcome", decide(report).value
    yield "check.tool_version", one_line(report.tool_version)
    yield "check.wall_s", f"{timing.wall_s:.6f}"
    if summary.has_engine(report):
        yield "check.load_s", f"{timing.load_s:.6f}"
        yield "check.engine_s", f"{timing.engine_s:.6f}"
        yield "check.generated_tokens", str(timing.generated_tokens)


def _add_case(suite: ET.Element, case: _Case) -> None:
    element = ET.SubElement(suite, "testcase", {"classname": case.classname, "name": case.name})
    if case.outcome is not Outcome.PASSED:
        # Dashboards show <skipped> much like a pass, which inconclusive is not.
        tag = "failure" if case.outcome is Outcome.FAILED else "error"
        child = ET.SubElement(element, tag, {"type": case.kind, "message": case.message})
        child.text = "\n".join(case.body)
    elif case.kind == Drift.word:
        ET.SubElement(element, "system-out").text = "\n".join([case.message, *case.body])


def _counts(cases: Sequence[_Case]) -> dict[str, str]:
    outcomes = [case.outcome for case in cases]
    return {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count(Outcome.FAILED)),
        "errors": str(outcomes.count(Outcome.INCONCLUSIVE)),
        "skipped": "0",
    }
