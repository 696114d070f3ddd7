"""The stored result of a check."""

from dataclasses import replace

from repro_gate.core.report import result_of
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.verdicts import Match, Unrecorded
from repro_gate.reports.markdown import render_markdown
from tests.fakes.reports import every_verdict, report_of


def test_only_traces_that_no_output_shows_are_left_out() -> None:
    """Those of cells that match or have no golden are most of a large report."""
    report = report_of(*every_verdict())

    kept = result_of(report).report

    unused = [cell for cell in report.cells if isinstance(cell.verdict, Match | Unrecorded)]
    assert {cell.id for cell in report.cells if cell not in kept.cells} == {
        cell.id for cell in unused if cell.generation and cell.generation.trace
    }
    assert len(unused) > 1
    assert replace(kept, cells=()) == replace(report, cells=())
    assert [_said(cell.generation) for cell in kept.cells] == [
        _said(cell.generation) for cell in report.cells
    ]
    assert render_markdown(kept) == render_markdown(report)


def _said(generation: Generation | None) -> Generation | None:
    return None if generation is None else replace(generation, trace=())
