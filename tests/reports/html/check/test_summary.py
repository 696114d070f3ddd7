"""The head of the page of a check, its causes, and its filter."""

from collections.abc import Callable
from dataclasses import replace

from repro_gate.core.changes.groups import change_groups
from repro_gate.core.report import CellReport, EngineReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Match, Unrecorded
from repro_gate.reports.html.check.causes import causes_of
from repro_gate.reports.html.check.filter import filter_of
from repro_gate.reports.html.check.findings import findings_of
from repro_gate.reports.html.check.page import render_html
from repro_gate.reports.html.check.summary import summary_of
from tests.fakes.logprob_reports import rich_logprobs_of
from tests.reports.html.elements import Elements

Build = Callable[..., GateReport]
CellOf = Callable[..., Cell]
ReportOf = Callable[..., CellReport]

_CHANGE = FactChange(name="setting.kv_type", before="f32", after="f16")


def test_the_title_has_the_outcome_and_the_counts(
    gate_report: Build, cell_report: ReportOf
) -> None:
    """So that the tab of a browser shows them."""
    page = render_html(gate_report(cell_report(Match())))

    assert "<title>passed: 1 match · repro-gate</title>" in page
    assert '<p class="badge large good">Passed</p>' in page


def test_an_interrupted_check_is_partial(gate_report: Build, cell_report: ReportOf) -> None:
    """Its badge and a note say so."""
    text = Elements(render_html(gate_report(cell_report(Match()), interrupted=True))).text

    assert "Inconclusive (partial)" in text
    assert "The check was interrupted" in text


def test_the_head_names_what_was_checked(gate_report: Build, cell_report: ReportOf) -> None:
    """Suites, profile, machine, runs, times and commit; of many suites the first."""
    engines = [
        EngineReport(name="cpu", profile="cpu", facts={"device.name": "CPU", "host.cpu": "EPYC"}),
        EngineReport(name="odd", profile="cpu", facts={}),
    ]
    report = gate_report(
        cell_report(Match()),
        suites=tuple(f"s{number}" for number in range(7)),
        engines=tuple(engines),
        commit="ab" * 20,
    )

    assert dict(summary_of(report).facts) == {
        "suites": "s0, s1, s2, s3, s4 and 2 more",
        "profile": "cpu-x86-64",
        "machine": "CPU",
        "runs": "1 cell x 10 runs",
        "started": "2026-01-02T03:04:05+00:00",
        "time": "wall 12.500 s, engine 10.000 s",
        "commit": "abababababab",
        "repro-gate": "0.1.0",
    }


def test_many_hosted_suites_are_counted(gate_report: Build) -> None:
    """The head stays short."""
    parts = tuple(replace(rich_logprobs_of(), suite=f"s{number}") for number in range(7))
    counts = summary_of(gate_report(logprobs=parts)).counts

    assert counts.startswith("s0: 2 agree")
    assert counts.endswith("; 2 more suites")


def test_the_first_suspect_is_beside_its_counts(
    gate_report: Build, drift: ReportOf, generation: Callable[..., Generation], cell: CellOf
) -> None:
    """Of the cells that differ, and of those that match where there are some."""
    moved = drift(generation("a b"), generation("a c"), cell(), _CHANGE)
    matching = replace(drift(generation("a b"), generation("a c"), cell(seed=1)), verdict=Match())
    known = replace(matching, provenance=0)
    alone, both = (
        Elements(render_html(gate_report(*cells, provenances=({"setting.kv_type": "f32"},)))).text
        for cells in ((moved,), (moved, known))
    )

    assert "First suspect: setting.kv_type: f32 → f16. Changed in 1 of 1 differing cells." in alone
    assert "matching" not in alone
    assert "with the same new value in 0 of 1 matching ones." in both


def test_a_cause_has_the_command_that_accepts_exactly_it(
    gate_report: Build, drift: ReportOf, generation: Callable[..., Generation], cell: CellOf
) -> None:
    """With the facts that its cells share, and a link to the first of them."""
    changes = [FactChange(name=f"setting.x{n}", before="1", after="2") for n in range(5)]
    report = gate_report(
        *(drift(generation("a b"), generation("a c"), cell(seed=n), *changes) for n in (1, 2)),
        repeat_with=("--config", "other.toml", "--device", "cuda"),
    )
    (cause,) = causes_of(report, findings_of(report)).shown
    (group,) = change_groups(report)

    assert (cause.kind, cause.cells, len(cause.facts), cause.more_facts) == (
        "drift: sampler",
        2,
        3,
        2,
    )
    assert cause.command == (
        f"repro-gate update-snapshots --config other.toml --from DIR --cause {group.id}"
    )
    assert cause.finding == 1
    assert [each.text for each in summary_of(report).commands] == [
        "repro-gate review --config other.toml --from DIR",
        "repro-gate update-snapshots --config other.toml --from DIR",
        "repro-gate explain --config other.toml tiny-qwen2--autumn-leaves--seed1",
    ]


def test_what_cannot_be_accepted_has_no_command(
    gate_report: Build, differing_run: ReportOf, generation: Callable[..., Generation], cell: CellOf
) -> None:
    """Runs that differ have to be fixed."""
    report = gate_report(differing_run(cell(), generation("a b"), generation("a c")))
    (cause,) = causes_of(report, findings_of(report)).shown

    assert cause.command is None
    assert "cannot be accepted" in Elements(render_html(report)).text


def test_a_page_has_at_most_a_hundred_causes(
    gate_report: Build, cell_report: ReportOf, cell: CellOf
) -> None:
    """And the number of the rest."""
    report = gate_report(
        *(cell_report(Unrecorded(reason=f"r{n}"), cell(seed=n)) for n in range(1, 103))
    )

    assert len(causes_of(report, findings_of(report)).shown) == 100
    assert "And 2 more, with fewer cells" in render_html(report)


def test_each_verdict_that_occurs_has_a_button(
    rich_report: GateReport, rich_logprob_report: GateReport
) -> None:
    """Of both gates, with the number of its cells."""
    both = replace(rich_report, logprobs=rich_logprob_report.logprobs)
    found = filter_of(both)

    assert dict(found.verdicts)["drift"] == 4
    assert sum(count for _, count in found.verdicts) == found.cells == 19
    assert "match" not in dict(filter_of(rich_logprob_report).verdicts)
