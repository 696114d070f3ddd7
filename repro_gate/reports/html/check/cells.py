"""Every cell of the token gate, by suite and model, with its prompt and output."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from repro_gate.core.outcome import outcome_of_cell
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import bytes_of
from repro_gate.reports.findings.divergence import explain, format_place
from repro_gate.reports.findings.summary import format_agreement, format_runs
from repro_gate.reports.findings.wording import describe_sampler, further_definition
from repro_gate.reports.html.check.findings import Findings
from repro_gate.reports.html.check.summary import STYLES
from repro_gate.reports.html.text import text_of_bytes

_BLOCK: Final = 100
"""Rows of a table that a browser need not lay out while they are out of sight."""
_START: Final = 180
"""Characters of an output that a row shows; the rest unfolds, which takes a browser time."""
_LINE: Final = 85
"""Characters of an output in a line of a row."""
_TALL: Final = 1.5
"""Lines of a row on average from which on a block has the larger height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A cell."""

    word: str
    style: str
    prompt: str
    seed: int
    runs: int
    place: str
    """Where its tokens diverge; empty if they do not."""
    finding: int | None
    """The number of its finding; None if it has none, or none that is shown."""
    output: str
    """Untrusted."""

    @property
    def start(self) -> str:
        """What the row shows of the output."""
        return self.output[:_START]

    @property
    def rest(self) -> str:
        """What unfolds; empty for a short output."""
        return self.output[_START:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt of a group, with what else defines its cells."""

    name: str
    texts: tuple[tuple[str, str], ...]
    """Labels and untrusted texts."""
    sampler: str
    further: tuple[tuple[str, str], ...]
    """Names and untrusted values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The cells of a model in a suite."""

    number: int
    suite: str
    model: str
    counts: str
    prompts: tuple[Prompt, ...]
    blocks: tuple[tuple[Row, ...], ...]

    def height_of(self, block: Sequence[Row]) -> str:
        """Return the class with the height of a block; none where it has fewer rows than others."""
        if len(block) < _BLOCK:
            return ""
        lines = sum(1 if row.rest else 1 + len(row.output) // _LINE for row in block)
        return "cv" if lines < _TALL * _BLOCK else "cv tall"


def groups_of(report: GateReport, findings: Findings) -> tuple[Group, ...]:
    """Return the cells of a report, in its order."""
    numbers = findings.of_cells()
    grouped: dict[tuple[str, str], list[CellReport]] = {}
    for cell in report.cells:
        grouped.setdefault((cell.suite, cell.cell.model), []).append(cell)
    return tuple(
        _group(number, cells, report, numbers) for number, cells in enumerate(grouped.values(), 1)
    )


def _group(
    number: int, cells: Sequence[CellReport], report: GateReport, findings: Mapping[int, int]
) -> Group:
    rows = [_row(cell, report, findings) for cell in cells]
    return Group(
        number=number,
        suite=cells[0].suite,
        model=cells[0].cell.model,
        counts=f"{format_runs(cells)}: {format_agreement(cells)}",
        prompts=tuple(_prompts(cells)),
        blocks=tuple(tuple(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)),
    )


def _row(found: CellReport, report: GateReport, findings: Mapping[int, int]) -> Row:
    explanation, first = explain(found), found.generation
    return Row(
        word=found.verdict.word,
        style=STYLES[outcome_of_cell(found, report)],
        prompt=found.cell.prompt,
        seed=found.cell.seed,
        runs=found.runs,
        place="" if explanation is None else format_place(explanation.divergence),
        finding=findings.get(id(found)),
        output="" if first is None else text_of_bytes(bytes_of(first.tokens)),
    )


def _prompts(cells: Sequence[CellReport]) -> Iterator[Prompt]:
    """Yield the prompts, each once for all of its seeds."""
    distinct: dict[object, CellReport] = {}
    for each in cells:
        distinct.setdefault((each.cell.prompt, each.cell.input, each.cell.sampler), each)
    for found in distinct.values():
        cell = found.cell
        yield Prompt(
            name=cell.prompt,
            texts=tuple(_asked(cell, found)),
            sampler=describe_sampler(cell),
            further=tuple(further_definition(cell).items()),
        )


def _asked(cell: Cell, found: CellReport) -> Iterator[tuple[str, str]]:
    if cell.chat is None:
        yield "text", cell.text
        return
    yield from (("message", each) for each in cell.chat.messages)
    yield from (("tool", each) for each in cell.chat.tools)
    if found.generation is not None and found.generation.rendered:
        yield "rendered", found.generation.rendered
