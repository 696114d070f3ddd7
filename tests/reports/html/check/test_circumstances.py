"""Notes, times and provenance on the page of a check."""

from collections.abc import Callable
from dataclasses import replace

from repro_gate.core.report import GateReport
from repro_gate.reports.html.check.circumstances import notes_of, provenance_of, timing_of
from tests.fakes.reports import report_of
from tests.fakes.values import provenance_of as facts_of

Build = Callable[..., GateReport]


def test_every_note_is_there() -> None:
    """With what it is about."""
    (note,) = notes_of(report_of())

    assert note.subject == "tiny"


def test_the_times_of_an_engine_are_shown_where_one_ran(
    rich_logprob_report: GateReport,
) -> None:
    """A check of hosted models has none."""
    assert [label for label, _ in timing_of(rich_logprob_report)] == ["wall time"]
    assert dict(timing_of(report_of()))["engine / wall"] == "0.80"


def test_provenance_has_the_facts_of_engines_and_models() -> None:
    """In a table each, sorted."""
    found = provenance_of(report_of())

    assert found is not None
    assert [(each.kind, each.name) for each in found.tables] == [
        ("Engine", "scripted"),
        ("Model", "tiny"),
    ]
    assert found.tables[1].rows == [("model.sha256", "ab" * 32), ("n_ctx", "256")]
    assert found.differing == ()


def test_what_differs_between_the_cells_is_shown_beside_each_other() -> None:
    """With the models and the number of cells of each provenance."""
    usual = report_of()
    other = {**facts_of("tiny"), "setting.kv_type": "f16"}
    moved = replace(usual.cells[0], provenance=1)
    report = replace(usual, cells=(moved, *usual.cells[1:]), provenances=(facts_of("tiny"), other))

    found = provenance_of(report)

    assert found is not None
    assert found.columns == ["tiny: 5 cells", "tiny: 1 cell"]
    assert found.differing == (("setting.kv_type", ["(not reported)", "f16"]),)


def test_a_report_without_a_fact_has_no_provenance(gate_report: Build) -> None:
    """The section is left out."""
    assert provenance_of(gate_report()) is None
