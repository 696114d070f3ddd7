"""The stored result of a check."""

from dataclasses import replace

from repro_gate.core.report import Note, NoteOrigin, excerpt_of, result_of
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.verdicts import Match, Unrecorded
from repro_gate.reports.markdown import render_markdown
from tests.fakes.reports import NOTE, drifted, every_verdict, not_run, ran, report_of
from tests.fakes.values import cell_of, grade_of, provenance_of


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


def test_an_excerpt_has_what_concerns_one_cell() -> None:
    """Its provenance is the first one, and what is left of the rest is of the whole check."""
    cell = replace(drifted(cell_of("fox")), provenance=1)
    other = Note(about="small", message="slow", origin=NoteOrigin.ENGINE)
    own = grade_of()
    report = replace(
        report_of(ran(cell_of("haiku"), Match()), cell),
        provenances=(provenance_of("small"), provenance_of("tiny")),
        models={"small": {}, "tiny": {"n_ctx": "256"}},
        notes=(other, NOTE),
        grades=(replace(own, model="small"), replace(own, suite="slow"), own),
    )

    excerpt = excerpt_of(report, cell)

    assert excerpt.cells == (replace(cell, provenance=0),)
    assert excerpt.provenances == (provenance_of("tiny"),)
    assert (excerpt.models, excerpt.notes) == ({"tiny": {"n_ctx": "256"}}, (NOTE,))
    assert (excerpt.suites, excerpt.grades) == (("quick",), (own,))
    assert (excerpt.orphans, excerpt.controls, excerpt.logprobs) == ((), (), ())
    assert (excerpt.timing, excerpt.repeat_with) == (report.timing, report.repeat_with)


def test_an_excerpt_of_a_cell_that_was_not_run_has_no_provenance() -> None:
    """Nor an engine."""
    cell = not_run(cell_of("fox"))

    excerpt = excerpt_of(report_of(cell), cell)

    assert (excerpt.cells, excerpt.provenances, excerpt.engines) == ((cell,), (), ())
