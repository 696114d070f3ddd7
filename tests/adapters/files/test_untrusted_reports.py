"""Every report, and the exit code, can be made of an untrusted report that is accepted."""

from io import StringIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from rich.console import Console

from repro_gate.adapters.files.codec import decode, encode
from repro_gate.core.cause import diagnose
from repro_gate.core.consistency import validate_report
from repro_gate.core.outcome import exit_code_for
from repro_gate.core.report import GateReport, excerpt_of
from repro_gate.reports.explain import render_explanation
from repro_gate.reports.findings.summary import render_summary
from repro_gate.reports.junit import render_junit
from repro_gate.reports.markdown import render_markdown
from repro_gate.reports.terminal import render_terminal
from repro_gate.strict_json import InvalidJson
from tests.fakes.changed_data import changed, kinds_of_places_in, with_value
from tests.fakes.reports import OTHER_RUN, render_json, report_of
from tests.fakes.values import golden_of

_DATA = encode(report_of(), GateReport)


def accepted(data: Any) -> GateReport | None:
    """Return the report that data describes, or None when it is refused."""
    try:
        report: GateReport = decode(data, GateReport)
    except InvalidJson:
        return None
    return report if validate_report(report) is None else None


def render(report: GateReport) -> None:
    """Render every report."""
    exit_code_for(report)
    render_summary(report)
    render_json(report)
    render_junit(report)
    render_markdown(report)
    render_terminal(report, Console(file=StringIO()))
    for cell in report.cells:
        facts = {} if cell.provenance is None else report.provenances[cell.provenance]
        golden = golden_of(cell.cell, OTHER_RUN)
        found = diagnose(cell, facts=facts, committed=golden)
        render_explanation(excerpt_of(report, cell), cell, found, golden)


def test_a_report_with_every_verdict_is_accepted() -> None:
    """The data that these tests change is valid."""
    assert accepted(_DATA) == report_of()


@pytest.mark.parametrize("value", [-1, 2**63 - 1, -1e308, "inf", "nan"])
def test_any_number_may_be_extreme(value: Any) -> None:
    """One field at a time: the report is refused, or every report can be rendered."""
    for steps in kinds_of_places_in(_DATA):
        report = accepted(with_value(_DATA, steps, value))
        if report is not None:
            render(report)


@examples(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(changed(_DATA))
def test_an_accepted_report_can_be_rendered(data: Any) -> None:
    """Whatever was changed in it; otherwise it is refused."""
    report = accepted(data)

    if report is not None:
        render(report)
