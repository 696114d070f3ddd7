"""The findings on the page of a check."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import FormerGolden, Orphan, Unrecorded
from repro_gate.reports.html.check.findings import Findings, findings_of
from repro_gate.reports.html.check.page import render_html
from tests.reports.html.elements import Elements

Build = Callable[..., GateReport]
CellOf = Callable[..., Cell]
Drifted = Callable[..., CellReport]

_GONE = "tiny--gone--seed1"


@pytest.fixture(name="drifts", scope="module")
def _drifts(
    drift: Drifted,
    generation: Callable[..., Generation],
    cell: CellOf,
    gate_report: Build,
) -> Callable[..., GateReport]:
    """Return a builder of reports on drifts of which each is a finding."""

    def build(count: int, *changes: FactChange) -> GateReport:
        golden = generation("a b")
        cells = [
            drift(golden, generation(f"a x{seed}"), cell(seed=seed), *changes)
            for seed in range(1, count + 1)
        ]
        return gate_report(*cells)

    return build


def test_findings_are_numbered_from_the_worst(rich_report: GateReport) -> None:
    """What was not measured comes last; a cell knows the number of its finding."""
    found = findings_of(rich_report)

    assert [each.number for each in found.shown] == list(range(1, len(found.shown) + 1))
    assert found.shown[-1].word == "inconclusive"
    assert found.of_cells()[id(rich_report.cells[1])] in {
        each.number for each in found.shown if each.word == "drift"
    }


def test_the_first_finding_is_open(rich_report: GateReport) -> None:
    """The rest is folded."""
    details = [
        attributes
        for attributes in Elements(render_html(rich_report)).of("details")
        if attributes.get("class") == "finding"
    ]

    assert ["open" in attributes for attributes in details[:3]] == [True, False, False]


def test_a_page_has_at_most_two_hundred_findings(drifts: Callable[..., GateReport]) -> None:
    """A sentence has the number of the rest."""
    report = drifts(203)
    text = Elements(render_html(report)).text

    assert len(findings_of(report).shown) == 200
    assert "And 3 more findings" in text


def test_the_changed_facts_have_what_is_known_of_them(drifts: Callable[..., GateReport]) -> None:
    """The strongest effect first; beyond sixty, their number."""
    changes = [FactChange(name=f"x.{n}", before="1", after="2") for n in range(70)]
    kv_type = FactChange(name="setting.kv_type", before="f32", after="f16")
    (found,) = findings_of(drifts(1, *changes, kv_type)).shown

    assert found.changes is not None
    assert found.changes.shown[0].whole.name == "setting.kv_type"
    assert found.changes.shown[0].effect.startswith("Keys and values have another precision")
    assert (len(found.changes.shown), found.changes.more) == (60, 11)
    assert "And 11 more" in render_html(drifts(1, *changes, kv_type))


def test_libraries_are_folded_beside_another_change(drifts: Callable[..., GateReport]) -> None:
    """Every build has other digests; their first digits are shown, and the rest in a tooltip."""
    library = FactChange(name="library.libggml.so.0.sha256", before="ab" * 32, after="cd" * 32)
    kv_type = FactChange(name="setting.kv_type", before="f32", after="f16")
    both, alone = (
        findings_of(drifts(1, *each)).shown[0] for each in ((library, kv_type), (library,))
    )
    cells = list(Elements(render_html(drifts(1, library))).of("td"))

    assert both.changes is not None
    assert [each.whole.name for each in both.changes.of_libraries] == [library.name]
    assert alone.changes is not None
    assert ([each.whole for each in alone.changes.shown], alone.changes.of_libraries) == (
        [library],
        (),
    )
    assert {"title": "ab" * 32} in cells


def test_a_drift_without_a_changed_fact_says_so(drifts: Callable[..., GateReport]) -> None:
    """Then the code under test is the suspect."""
    assert "The provenance has not changed" in render_html(drifts(1))


def test_a_redefined_cell_shows_its_definition(
    gate_report: Build, cell_report: Callable[..., CellReport]
) -> None:
    """What it was and is, as the golden has another one; earlier reports do not have it."""
    change = FactChange(name="max_tokens", before="20", after="30")
    verdicts = [
        Unrecorded(reason="max_tokens was 20", former=FormerGolden(divergence=None, changes=each))
        for each in ((change,), ())
    ]
    new, old = (findings_of(gate_report(cell_report(each))).shown[0] for each in verdicts)

    assert new.changes is not None
    assert new.changes.title.startswith("Changed in the definition of tiny-qwen2--")
    assert [each.whole.name for each in new.changes.shown] == ["max_tokens"]
    assert old.changes is None


def test_many_ids_are_counted(gate_report: Build) -> None:
    """A page has the first two hundred of a finding."""
    report = gate_report(*(Orphan(id=f"tiny--gone--seed{n}", origin="cpu") for n in range(1, 206)))
    (found,) = findings_of(report).shown

    assert (len(found.ids), found.more_ids) == (200, 5)
    assert "and 5 more, in" in render_html(report)


def test_an_orphan_has_the_command_that_removes_it(gate_report: Build) -> None:
    """And no cell, no tokens and no list of one id."""
    (found,) = findings_of(gate_report(Orphan(id=_GONE, origin="cpu"))).shown

    assert [each.label for each in found.commands] == ["remove it"]
    assert (found.subject, found.ids, found.fork, found.changes) == (_GONE, (), None, None)


def test_findings_of_both_gates_are_together(
    rich_report: GateReport, rich_logprob_report: GateReport
) -> None:
    """By their severity."""
    both = replace(rich_report, logprobs=rich_logprob_report.logprobs)
    words = [each.word for each in findings_of(both).shown]

    assert {"drift", "outlier", "invalid", "weights", "control", "orphaned"} <= set(words)
    assert not findings_of(replace(both, cells=(), orphans=(), controls=(), logprobs=()))
    assert isinstance(findings_of(both), Findings)


def test_a_finding_names_its_suite_and_model(
    rich_report: GateReport, rich_logprob_report: GateReport
) -> None:
    """So that it can be filtered by them, as its cells can; an orphan has neither."""
    tokens, hosted = findings_of(rich_report), findings_of(rich_logprob_report)
    orphan = next(each for each in tokens.shown if each.word == "orphaned")

    assert (tokens.shown[0].suites, tokens.shown[0].models) == ("embedded", "tiny-qwen2")
    assert (hosted.shown[1].suites, hosted.shown[1].models) == ("hosted", "base")
    assert (orphan.suites, orphan.models) == ("", "")


def test_cells_of_two_suites_have_findings_of_their_own(rich_logprob_report: GateReport) -> None:
    """Also where their ids are the same."""
    (part,) = rich_logprob_report.logprobs
    twice = replace(part, suite="other", cells=tuple(map(replace, part.cells)))
    report = replace(rich_logprob_report, logprobs=(part, twice))
    numbers = findings_of(report).of_cells()

    shared = [
        (numbers.get(id(a)), numbers.get(id(b)))
        for a, b in zip(part.cells, twice.cells, strict=True)
    ]
    assert all(one != other for one, other in shared if one is not None)
    assert len(numbers) == 2 * sum(one is not None for one, _ in shared)
