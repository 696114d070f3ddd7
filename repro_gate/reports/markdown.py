"""The Markdown report: findings first, then every cell with its output."""

from collections.abc import Iterator, Sequence

from repro_gate.core.outcome import decide, exit_code_for, outcome_of_cell
from repro_gate.core.report import CellReport, GateReport, Timing
from repro_gate.core.text import escape_bytes, escape_text
from repro_gate.core.tokens.controls import ControlReport
from repro_gate.core.tokens.generation import Generation, text_of
from repro_gate.core.tokens.golden import Facts
from repro_gate.core.tokens.verdicts import Nondeterministic
from repro_gate.reports.findings import logprob_summary, summary
from repro_gate.reports.findings.grades import describe_graded, format_verdicts
from repro_gate.reports.findings.notes import check_notes
from repro_gate.reports.findings.wording import (
    WORDS,
    describe,
    describe_control,
    describe_sampler,
    further_definition,
)
from repro_gate.reports.markdown_findings import finding_blocks, note_blocks
from repro_gate.reports.markdown_logprobs import logprob_blocks, part_line
from repro_gate.reports.markdown_modes import better_blocks, mode_blocks
from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import Block, code, details, document, fence, mark, table


def render_markdown(report: GateReport) -> str:
    """Return the report as Markdown that no model output can break."""
    return document(
        [
            *_head(report),
            *_modes(report),
            *finding_blocks(report),
            *_notes(report),
            *(_tokens(report) if summary.has_tokens(report) else ()),
            *logprob_blocks(report),
            *_overall(report),
            ["## Timing"],
            timing_block(report),
            *_provenance(report),
        ]
    )


def _head(report: GateReport) -> Iterator[Block]:
    yield ["# Reproducibility report"]
    outcome = decide(report)
    yield [
        f"{mark(outcome)} **{outcome.capitalize()}**: {summary.explain_outcome(report, name=code)}."
    ]
    if report.interrupted:
        yield [
            "**Partial**: the check was interrupted; everything it did not reach is inconclusive."
        ]
    suites = ", ".join(map(code, report.suites)) or "none"
    version, started = code(report.tool_version), code(report.started_at)
    yield [f"Suites: {suites}. Started {started} with repro-gate {version}."]
    if summary.has_tokens(report):
        yield table(
            ["verdict", "cells"], [[word, str(report.counts.get(word, 0))] for word in WORDS]
        )
    yield [f"- {code(part.suite)}: {part_line(part, report)}" for part in report.logprobs]


def _modes(report: GateReport) -> Iterator[Block]:
    blocks = [*mode_blocks(report), *better_blocks(report)]
    if blocks:
        yield ["## Modes"]
        yield from blocks


def _notes(report: GateReport) -> Iterator[Block]:
    if report.notes:
        yield ["## Notes"]
        yield from note_blocks(check_notes(report))


def _tokens(report: GateReport) -> Iterator[Block]:
    yield from _models(report)
    yield from _nondeterminism(report)
    yield ["## Controls"]
    yield from control_blocks(report)


def _models(report: GateReport) -> Iterator[Block]:
    for model, cells in summary.by_model(report).items():
        yield [f"## Model {code(model)}"]
        profiles = dict.fromkeys(cell.profile or "unknown" for cell in cells)
        yield [f"Profile: {', '.join(map(code, profiles))}"]
        prompts: dict[object, list[CellReport]] = {}
        for found in cells:
            cell = found.cell
            prompts.setdefault((cell.prompt, cell.input, cell.sampler), []).append(found)
        for same_prompt in prompts.values():
            yield from _prompt(same_prompt, report)
        words = f"{summary.format_runs(cells)}, {summary.format_agreement(cells)}"
        yield [f"**Summary of {code(model)}**: {words}."]


def _prompt(cells: Sequence[CellReport], report: GateReport) -> Iterator[Block]:
    cell = cells[0].cell
    yield [f"### Prompt {code(cell.prompt)}"]
    if cell.chat is None:
        yield fence([escape_text(cell.text)], "text")
    else:
        yield fence(map(escape_text, cell.chat.messages), "json")
        if cell.chat.tools:
            yield ["Tools:"]
            yield fence(map(escape_text, cell.chat.tools), "json")
        rendered = cells[0].generation and cells[0].generation.rendered
        if rendered:
            yield ["Rendered by the chat template:"]
            yield fence(map(escape_text, rendered.splitlines(keepends=True)), "text")
    yield [describe_sampler(cell)]
    defined = further_definition(cell)
    further = [f"- {code(name)}: {code(value)}" for name, value in defined.items()]
    if further:
        yield further
    for found in cells:
        yield [f"#### Seed {found.cell.seed}"]
        yield _seed(found, report)


def _seed(found: CellReport, report: GateReport) -> Block:
    verdict = f"{mark(outcome_of_cell(found, report))} {found.verdict.word}"
    description = describe_graded(found, report)
    grade = "" if description.grade is None else f"; {description.grade}"
    lines = [
        f"- **Runs**: {found.runs}",
        f"- **Result**: {verdict}: {description.claim}{grade}",
    ]
    generation = found.generation
    if generation is not None:
        ids = ", ".join(str(token.id) for token in generation.tokens)
        lines.append(f"- **Token sequence**: {code(f'[{ids}]')}")
        lines.append(f"- **Output**: {code(text_of(generation.tokens))}")
        lines.append(f"- **Stop**: {code(generation.stop.value)}{_cut(generation)}")
    return lines


def _cut(generation: Generation) -> str:
    """Return the stop string, and the text that it left."""
    if generation.stop_string is None or generation.content is None:
        return ""
    content = code(escape_bytes(generation.content))
    return f" {code(escape_text(generation.stop_string))}; text before it: {content}"


def _nondeterminism(report: GateReport) -> Iterator[Block]:
    yield ["## Non-deterministic behaviour"]
    differing = [cell for cell in report.cells if isinstance(cell.verdict, Nondeterministic)]
    repeated = [cell for cell in report.cells if cell.runs > 1]
    if differing:
        yield [f"- {code(cell.id)}: {describe(cell).claim}" for cell in differing]
    elif repeated:
        cells = plural(len(repeated), "repeated cell")
        yield [f"None observed: every run of {cells} equals its first run."]
    else:
        yield ["None observable: no cell was run more than once."]


def control_blocks(report: GateReport) -> Iterator[Block]:
    """Yield the controls of the token gate."""
    if not report.controls:
        yield ["No control was run, so nothing here shows that this check can fail."]
        return
    yield ["For each model, another seed and another prompt must change the output."]
    yield table(
        ["cell", "result"],
        [
            [
                code(control.contrast.cell.id),
                f"{_control_mark(control)} {describe_control(control).claim}",
            ]
            for control in report.controls
        ],
    )


def _control_mark(control: ControlReport) -> str:
    if control.problem is not None:
        return "❔"
    return "❌" if control.failed else "✅"


def _overall(report: GateReport) -> Iterator[Block]:
    yield ["## Overall summary"]
    yield [
        *(_token_summary(report) if summary.has_tokens(report) else ()),
        *(
            f"- **Log-probabilities** of {code(part.suite)}: {logprob_summary.format_suite(part)}"
            for part in report.logprobs
        ),
        f"- **Outcome**: {decide(report).value}, exit code {exit_code_for(report).value}",
    ]


def _token_summary(report: GateReport) -> Iterator[str]:
    cells = report.cells
    yield f"- **Cells**: {len(cells)}"
    yield f"- **Runs**: {sum(cell.runs for cell in cells)}"
    yield f"- **Repetition**: {summary.format_repetition(cells)}"
    yield f"- **Verdicts**: {format_verdicts(report) or 'none'}"
    yield f"- **Controls**: {summary.format_controls(report)}"


def timing_block(report: GateReport) -> Block:
    """Return the times of a check."""
    timing = report.timing
    return [
        f"- **Wall time**: {summary.seconds(timing.wall_s)}",
        *(_engine_timing(timing) if summary.has_engine(report) else ()),
    ]


def _engine_timing(timing: Timing) -> Iterator[str]:
    yield f"- **Engine time**: {summary.seconds(timing.engine_s)} of decoding and sampling"
    yield f"- **Engine / wall**: {summary.format_ratio(timing)}"
    yield f"- **Loading**: {summary.seconds(timing.load_s)}"
    yield f"- **Generated**: {plural(timing.generated_tokens, 'token')}"


def _provenance(report: GateReport) -> Iterator[Block]:
    if summary.has_tokens(report) or report.engines or report.models:
        yield ["## Provenance"]
        yield from provenance_blocks(report)


def provenance_blocks(report: GateReport) -> Iterator[Block]:
    """Yield the facts of every engine and model."""
    for engine in report.engines:
        yield [f"Engine {code(engine.name)}, profile {code(engine.profile)}:"]
        yield _facts(engine.facts)
    for model, facts in report.models.items():
        yield [f"Model {code(model)}:"]
        yield _facts(facts)


def _facts(facts: Facts) -> Block:
    rows = [[code(name), code(value)] for name, value in sorted(facts.items())]
    return details("Facts", table(["fact", "value"], rows))
