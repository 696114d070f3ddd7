"""The cells on the page of a check."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.chat import Chat
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.verdicts import Match
from repro_gate.reports.html.check.cells import Group, groups_of
from repro_gate.reports.html.check.findings import findings_of
from repro_gate.reports.html.check.page import render_html
from tests.reports.html.elements import Elements

Build = Callable[..., GateReport]
CellOf = Callable[..., Cell]
ReportOf = Callable[..., CellReport]


def shown(report: GateReport) -> tuple[Group, ...]:
    """Return the cells of a report."""
    return groups_of(report, findings_of(report))


def test_cells_are_grouped_by_suite_and_model(rich_report: GateReport) -> None:
    """With their counts, in the order of the report."""
    qwen, phi = shown(rich_report)

    assert (qwen.suite, qwen.model, phi.model) == ("embedded", "tiny-qwen2", "tiny-phi3")
    assert qwen.counts.startswith("4 cells, 34 runs: 3 of 4 identical, 1 match")
    assert [row.seed for row in (*qwen.blocks[0], *phi.blocks[0])] == [
        cell.cell.seed for cell in rich_report.cells
    ]


def test_a_row_leads_to_its_finding(rich_report: GateReport) -> None:
    """By a number of ours; a cell that matches leads nowhere."""
    first, second, *_ = shown(rich_report)[0].blocks[0]
    links = {link["href"] for link in Elements(render_html(rich_report)).of("a")}

    assert (first.finding, first.place) == (None, "")
    assert second.place == "output[3]"
    assert f"#finding-{second.finding}" in links


def test_blocks_have_a_hundred_rows(
    gate_report: Build, cell_report: ReportOf, cell: CellOf
) -> None:
    """Only a full one has the height that the style states."""
    report = gate_report(*(cell_report(Match(), cell(seed=seed)) for seed in range(1, 251)))
    (group,) = shown(report)
    blocks = [
        each
        for each in Elements(render_html(report)).of("div")
        if "block" in str(each.get("class")).split()
    ]

    assert [len(block) for block in group.blocks] == [100, 100, 50]
    assert ["cv" in str(each["class"]).split() for each in blocks] == [True, True, False]


def test_a_full_block_has_the_height_of_its_lines(
    gate_report: Build, cell_report: ReportOf, generation: Callable[..., Generation], cell: CellOf
) -> None:
    """An output of some lines is higher than a short one, and than a long one, which is folded."""
    heights = {}
    for words in (10, 50, 90):
        output = generation("ab " * words)
        cells = [cell_report(Match(), cell(seed=n), generation=output) for n in range(1, 101)]
        (group,) = shown(gate_report(*cells))
        heights[words] = group.height_of(group.blocks[0])

    assert heights == {10: "cv", 50: "cv tall", 90: "cv"}


def test_an_output_is_complete(
    gate_report: Build, cell_report: ReportOf, generation: Callable[..., Generation]
) -> None:
    """Its start is in the row, and the rest unfolds: together they are the output."""
    long, short = (cell_report(Match(), generation=generation(text)) for text in ("ab " * 70, "ab"))
    (row,), (brief,) = (shown(gate_report(each))[0].blocks[0] for each in (long, short))

    assert (len(row.start), row.start + row.rest) == (180, row.output)
    assert (brief.start, brief.rest) == (" ab", "")


def test_a_prompt_is_shown_once_for_its_seeds(
    gate_report: Build, cell_report: ReportOf, cell: CellOf
) -> None:
    """With its text, its sampler and what else defines it."""
    cells = [replace(cell(seed=seed), stop=("END",)) for seed in (1, 2)]
    ((prompt,),) = (
        each.prompts for each in shown(gate_report(*(cell_report(Match(), one) for one in cells)))
    )

    assert prompt.texts == (("text", "Write a haiku"),)
    assert prompt.sampler.startswith("Temperature 0.7, top-k 40")
    assert prompt.further == (("stop", '["END"]'),)


@pytest.mark.parametrize("is_measured", [True, False])
def test_a_chat_has_its_messages_and_tools(
    gate_report: Build,
    cell_report: ReportOf,
    cell: CellOf,
    generation: Callable[..., Generation],
    is_measured: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    """And what its template made of them, where it was rendered."""
    chat = Chat.of({"messages": [{"role": "user", "content": "Hi"}], "tools": [{"name": "now"}]})
    rendered = replace(generation("a"), rendered="<user>Hi" if is_measured else None)
    asked = replace(cell(), text="", chat=chat)
    (group,) = shown(gate_report(cell_report(Match(), asked, generation=rendered)))

    labels = [label for label, _ in group.prompts[0].texts]
    assert labels == ["message", "tool", *(["rendered"] if is_measured else [])]
