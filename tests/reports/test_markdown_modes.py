"""What the answers of served models depend on, as Markdown."""

from dataclasses import replace

from repro_gate.core.report import GateReport
from repro_gate.core.tokens.modes import Level
from repro_gate.core.tokens.verdicts import Match
from repro_gate.reports.markdown import render_markdown
from repro_gate.reports.markdown_modes import better_blocks, mode_blocks
from tests.reports.conftest import cell_of, cell_report_of, gate_report_of
from tests.reports.served import (
    OTHER,
    dependent,
    result_of,
    served_cell_of,
    served_report_of,
    steady,
)

ANY = result_of("concurrent-8", *[OTHER] * 3, level=Level.ANY)


def tables_of(report: GateReport) -> list[list[str]]:
    """Return the lines of each table of modes."""
    return [list(block) for block in mode_blocks(report) if block and block[0].startswith("| ")]


def test_each_model_has_a_row_and_each_mode_a_column() -> None:
    """What is required is above, and what was compared below."""
    (table,) = tables_of(dependent())

    assert [line.split(" | ")[0] for line in table] == [
        "| model",
        "| ---",
        "| required",
        "| `smollm2`",
        "| `qwen`",
        "| `gemma`",
        "| compared, at least",
        "| missed, at most",
    ]
    assert table[0].count("|") == 9
    assert "❌ 17/24 tokens, 16/24 bits, 0.0075 nats" in table[3]
    assert "❌ 8/8 bits (unproven)" in table[5]
    assert table[6].split(" | ")[3] == "72 tokens at 8 sequences"


def test_what_helps_is_below_the_table() -> None:
    """Once for each cause, and then what was not proven."""
    _, causes, doubts, legend = mode_blocks(dependent())

    (cause,) = causes
    assert cause.startswith(
        "- **The tokens depend on the other requests in the batch**: "
        "`concurrent-8 of smollm2, mixed-8 of smollm2`. "
    )
    assert "What helps: --flash-attn off --cache-type-k f32 " in cause
    assert doubts[0].startswith("- **Not proven**: `concurrent-8: the server worked on 1 sequence")
    assert legend[0].startswith("Missed: ")


def test_a_cause_without_a_remedy_ends_there() -> None:
    """At a server of another kind nothing was measured."""
    cell = served_cell_of(cell_of(), result_of("concurrent-8", OTHER))
    _, causes, _, _ = mode_blocks(served_report_of(cell, dialect="openai"))

    assert causes[0].endswith("`concurrent-8 of tiny-qwen2`.")


def test_suites_with_other_modes_have_another_table() -> None:
    """A column is for one mode and one required level."""
    cell = served_cell_of(cell_of())
    other = replace(served_cell_of(cell_of(), ANY), suite="other")
    first, second = tables_of(served_report_of(cell, other))

    assert first[2].split(" | ")[3] == "tokens"
    assert second[2].split(" | ")[3] == "any"


def test_what_is_not_required_has_no_mark() -> None:
    """Differing answers are shown there, and are neither good nor bad."""
    (table,) = tables_of(served_report_of(served_cell_of(cell_of(), ANY)))

    assert table[3].split(" | ")[3] == "5/8 tokens, 5/8 bits, 0.0045 nats"


def test_many_models_are_counted() -> None:
    """A comment holds a table of some thirty."""
    cells = [served_cell_of(cell_of(model=f"m{number}")) for number in range(33)]
    (table,) = tables_of(served_report_of(*cells))

    assert table[-1] == "and 3 more models."
    assert "| `m29` |" in "\n".join(table)
    assert "| `m30` |" not in "\n".join(table)


def test_the_better_line_can_be_copied() -> None:
    """Below the name of its suite."""
    suite, line = better_blocks(steady())

    assert suite == ["The matrix could require this of the suite `served`:"]
    assert line[1].startswith('modes = { alone = "bits", concurrent-8 = "bits"')


def test_a_check_without_modes_has_no_such_section() -> None:
    """Nothing changes for it."""
    report = gate_report_of(cell_report_of(Match()))

    assert [*mode_blocks(report), *better_blocks(report)] == []
    assert "## Modes" not in render_markdown(report)


def test_the_report_has_the_section_before_its_findings() -> None:
    """It decides what to do."""
    headings = [line for line in render_markdown(dependent()).splitlines() if line[:3] == "## "]

    assert headings[:2] == ["## Modes", "## Findings"]
