"""The Markdown report, section by section."""

from collections.abc import Callable
from dataclasses import replace

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation, Stop
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import STOPPED, Inconclusive, Match
from repro_gate.reports.markdown import render_markdown
from tests.fakes.values import CHAT, PENALISED, cell_of, generation_of

Found = Callable[..., CellReport]
Build = Callable[..., GateReport]
Text = Callable[..., Generation]


def section_of(text: str, title: str) -> str:
    """Return the text below a heading of the second level."""
    return text.partition(f"\n## {title}\n\n")[2].partition("\n\n## ")[0]


def test_pass_has_no_findings(gate_report: Build, cell_report: Found) -> None:
    """The report of a pass starts with its results."""
    text = render_markdown(gate_report(cell_report(Match())))

    assert "✅ **Passed**: 1 cell measured, and all match." in text
    assert "## Findings" not in text


def test_findings_come_first(rich_report: GateReport) -> None:
    """They come before the details of each cell."""
    titles = [line for line in render_markdown(rich_report).splitlines() if line[:3] == "## "]

    assert titles == [
        "## Modes",
        "## Findings",
        "## Notes",
        "## Model `tiny-qwen2`",
        "## Model `tiny-phi3`",
        "## Non-deterministic behaviour",
        "## Controls",
        "## Overall summary",
        "## Timing",
        "## Provenance",
    ]


def test_further_samplers_are_shown(gate_report: Build, cell_report: Found) -> None:
    """Below the four parameters that every cell has."""
    report = gate_report(cell_report(Match(), cell_of(sampler=PENALISED)))

    assert section_of(render_markdown(report), "Model `tiny`").split("\n\n")[3:5] == [
        "Temperature 1.0, top-k 0, top-p 1.0, min-p 0.0, at most 4 tokens.",
        (
            "- `samplers`: `penalties`\n- `repeat_last_n`: `64`\n- `repeat_penalty`: `1.5`\n"
            "- `frequency_penalty`: `0.0`\n- `presence_penalty`: `0.5`"
        ),
    ]


def test_the_stop_string_is_shown(gate_report: Build, cell_report: Found) -> None:
    """With the strings of the cell, and the text that is left."""
    cut = replace(
        generation_of(7, 8),
        stop=Stop.STOP_STRING,
        stop_string="\n",
        content=b"caf\xc3",
    )
    cell = replace(cell_of(), stop=("\n", "."))
    text = render_markdown(gate_report(cell_report(Match(), cell, generation=cut)))

    assert '\n\n- `stop`: `["\\n", "."]`\n\n' in text
    assert "- **Stop**: `stop_string` `\\n`; text before it: `caf\\xc3`\n" in text


def test_tools_and_variables_of_a_chat_are_shown(gate_report: Build, cell_report: Found) -> None:
    """The template is given them beside the messages."""
    chat = replace(
        CHAT, tools=('{"type":"function"}',), template_kwargs='{"a":1}', add_generation_prompt=False
    )
    cell = replace(cell_of(), text="", chat=chat)
    text = render_markdown(gate_report(cell_report(Match(), cell)))

    assert 'Tools:\n\n```json\n{"type":"function"}\n```' in text
    assert '\n\n- `template_kwargs`: `{"a":1}`\n- `add_generation_prompt`: `false`\n\n' in text


def test_drift_is_a_diff(
    gate_report: Build, drift: Found, cell: Callable[..., Cell], generation: Text
) -> None:
    """Both sides are shown from the divergence on, after some shared tokens."""
    golden, observed = generation("a b c d e f g h i j"), generation("a b c d x y")
    text = render_markdown(gate_report(drift(golden, observed, cell())))

    assert text.split("```diff\n")[1].split("```")[0].splitlines() == [
        "--- golden",
        "+++ observed",
        '  [1] 130 " b"',
        '  [2] 131 " c"',
        '  [3] 132 " d"',
        '- [4] 133 " e"',
        '- [5] 134 " f"',
        '- [6] 135 " g"',
        '- [7] 136 " h"',
        '+ [4] 152 " x"',
        '+ [5] 153 " y"',
    ]


def test_early_stop_is_a_diff_that_ends(
    gate_report: Build, drift: Found, cell: Callable[..., Cell], generation: Text
) -> None:
    """The diff shows the end of a side."""
    text = render_markdown(gate_report(drift(generation("a b"), generation("a"), cell())))

    assert text.split("```diff\n")[1].split("```")[0].splitlines() == [
        "--- golden",
        "+++ observed",
        '  [0] 129 " a"',
        '- [1] 130 " b"',
        "+ [1] (end of sequence)",
    ]


def test_differing_run_is_a_diff_of_one_token(
    gate_report: Build, differing_run: Found, cell: Callable[..., Cell], generation: Text
) -> None:
    """A run of which one token was kept does not look as if it had ended."""
    found = differing_run(cell(), generation("a b c"), generation("a x y"))
    text = render_markdown(gate_report(found))

    assert text.split("```diff\n")[1].split("```")[0].splitlines() == [
        "--- run 1",
        "+++ run 4",
        '  [0] 129 " a"',
        '- [1] 130 " b"',
        '+ [1] 152 " x"',
    ]


def test_drift_names_its_suspects(
    gate_report: Build, drift: Found, cell: Callable[..., Cell], generation: Text
) -> None:
    """The changed facts are shown with the drift."""
    changed = FactChange(name="device.driver", before="550.54", after=None)
    found = drift(generation("a"), generation("b"), cell(), changed)

    assert "| `device.driver` | `550.54` | (not reported) |" in render_markdown(gate_report(found))


def test_drift_without_changed_facts_is_explained(
    gate_report: Build, drift: Found, cell: Callable[..., Cell], generation: Text
) -> None:
    """It is useful to know that no recorded fact changed."""
    text = render_markdown(gate_report(drift(generation("a"), generation("b"), cell())))

    assert "The provenance has not changed since the golden was recorded." in text


def test_seeds_of_a_prompt_are_grouped(
    gate_report: Build, cell_report: Found, cell: Callable[..., Cell]
) -> None:
    """A prompt is shown once, with each of its seeds below."""
    cells = [cell_report(Match(), cell(seed=seed)) for seed in (1, 2)]
    other = cell_report(Match(), cell("once-upon-a-time", text="Once"))
    section = section_of(
        render_markdown(gate_report(cells[0], other, cells[1])), "Model `tiny-qwen2`"
    )

    assert [line for line in section.splitlines() if line[:3] == "###"] == [
        "### Prompt `autumn-leaves`",
        "#### Seed 1",
        "#### Seed 2",
        "### Prompt `once-upon-a-time`",
        "#### Seed 42",
    ]


def test_unmeasured_cell_has_no_tokens(gate_report: Build, cell_report: Found) -> None:
    """A cell without a run has a result and no output."""
    lost = Inconclusive(reason="no device", remedy=None)
    found = cell_report(lost, runs=0, generation=None, profile=None)
    section = section_of(render_markdown(gate_report(found)), "Model `tiny-qwen2`")

    assert section.startswith("Profile: `unknown`\n")
    assert section.split("#### Seed 42\n\n")[1].splitlines() == [
        "- **Runs**: 0",
        "- **Result**: ❔ inconclusive: not measured, so neither a pass nor drift",
        "",
        "**Summary of `tiny-qwen2`**: 1 cell x 0 runs, none repeated, 1 inconclusive.",
    ]


def test_nondeterminism_that_was_not_observed(gate_report: Build, cell_report: Found) -> None:
    """The report shows how many cells were repeated."""
    text = render_markdown(gate_report(cell_report(Match())))

    assert section_of(text, "Non-deterministic behaviour") == (
        "None observed: every run of 1 repeated cell equals its first run."
    )


def test_nondeterminism_that_could_not_be_observed(gate_report: Build, cell_report: Found) -> None:
    """A single run shows nothing about determinism."""
    text = render_markdown(gate_report(cell_report(Match(), runs=1)))

    assert section_of(text, "Non-deterministic behaviour") == (
        "None observable: no cell was run more than once."
    )


def test_a_missing_control_is_reported(gate_report: Build, cell_report: Found) -> None:
    """A report without controls does not look as if it had some."""
    text = render_markdown(gate_report(cell_report(Match())))

    assert section_of(text, "Controls") == (
        "No control was run, so nothing here shows that this check can fail."
    )


def test_timing_has_both_figures_and_their_ratio(rich_report: GateReport) -> None:
    """A wall time without an engine time could be a check that ran nothing."""
    assert section_of(render_markdown(rich_report), "Timing").splitlines() == [
        "- **Wall time**: 12.500 s",
        "- **Engine time**: 10.000 s of decoding and sampling",
        "- **Engine / wall**: 0.80",
        "- **Loading**: 1.250 s",
        "- **Generated**: 5300 tokens",
    ]


def test_a_partial_report_is_marked(rich_report: GateReport) -> None:
    """An interrupted check does not look complete."""
    text = render_markdown(replace(rich_report, interrupted=True))

    assert "**Partial**: the check was interrupted" in text


def test_an_empty_report_is_no_pass(gate_report: Build) -> None:
    """A check without suites or cells has a report all the same."""
    text = render_markdown(gate_report(suites=()))

    assert "❔ **Inconclusive**: nothing was measured." in text
    assert "Suites: none." in text
    assert "- **Verdicts**: none" in text


def test_a_chat_is_shown_with_the_text_of_its_template(
    gate_report: Build, cell_report: Found, generation: Text
) -> None:
    """Its messages are JSON, and the text is that of the first run, if there was one."""
    cell = cell_of().with_input(CHAT, prompt="chat")
    rendered = replace(generation("a"), rendered="<user>\nSay it\n")
    message = '```json\n{"role":"user","content":"Say it"}\n```'
    text = "```text\n<user>\\n\nSay it\\n\n```"

    ran = render_markdown(gate_report(cell_report(Match(), cell, generation=rendered)))
    planned = render_markdown(gate_report(cell_report(STOPPED, cell, generation=None, runs=0)))

    assert f"{message}\n\nRendered by the chat template:\n\n{text}" in ran
    assert message in planned
    assert "Rendered by" not in planned
