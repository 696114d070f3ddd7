"""A report in pieces, the most important first, each of which is shown whole or not at all."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from repro_gate.core.report import GateReport
from repro_gate.core.verdicts import Drift, Unrecorded
from repro_gate.reports import commands, summary
from repro_gate.reports.foreign import clipped
from repro_gate.reports.github.changes import shared_block, shared_changes
from repro_gate.reports.github.folding import folded, joined
from repro_gate.reports.github.room import Piece
from repro_gate.reports.github.sections import hosted_sections, token_sections
from repro_gate.reports.logprob_notes import logprob_notes, whole_notes
from repro_gate.reports.markdown import control_blocks, provenance_blocks, timing_block
from repro_gate.reports.markdown_logprob_findings import note_blocks
from repro_gate.reports.markdown_logprobs import part_line, suite_blocks
from repro_gate.reports.markdown_text import code, fence, table

Block = Sequence[str]

_OPEN: Final = 2
"""Findings of each gate that are not folded: what a reviewer can take in at a glance."""
_MOST_SUITES: Final = 10
_MOST_PROFILES: Final = 4
_LONGEST_NAME: Final = 100
_THERE: Final = (
    "On a machine of another class, unpack the full report of the run into `DIR`, "
    "and accept what was observed there:"
)
_FROM: Final = "repro-gate update-snapshots --from DIR"


def passed_pieces(report: GateReport) -> Iterator[Piece]:
    """Yield what a pass rests on."""
    yield Piece(name="the suites", block=_suites(report))
    for part in report.logprobs:
        for note in (*whole_notes(part), *logprob_notes(part)):
            yield Piece(name="notes", block=[f"**Note**: {note.claim}."])


def finding_pieces(report: GateReport) -> Iterator[Piece]:
    """Yield the findings, with what they have in common before them and the rest after them."""
    yield Piece(name="the suites", block=_suites(report))
    common = list(shared_block(shared_changes(report)))
    if common:
        yield Piece(name="what changed", block=joined(common))
    tokens, hosted = token_sections(report), hosted_sections(report)
    for section in (*tokens[:_OPEN], *hosted[:_OPEN]):
        yield Piece(block=section.open())
    for section in (*tokens[_OPEN:], *hosted[_OPEN:]):
        yield Piece(block=section.folded())
    elsewhere = list(_accepting_elsewhere(report))
    if elsewhere:
        yield Piece(name="how to accept from elsewhere", block=joined(elsewhere))
    yield from _rest(report)


def _suites(report: GateReport) -> Block:
    lines = [f"- {_token_words(report)}"] if summary.has_tokens(report) else []
    lines += [
        f"- {code(clipped(part.suite, _LONGEST_NAME))}: {part_line(part, report)}"
        for part in report.logprobs[:_MOST_SUITES]
    ]
    more = len(report.logprobs) - _MOST_SUITES
    return [*lines, f"- and {more} more suites"] if more > 0 else lines


def _token_words(report: GateReport) -> str:
    cells = summary.measured_cells(report)
    if not cells:
        return "Tokens: no cell was checked."
    said = f"{summary.run_words(cells)}, {summary.repetition_words(cells)}"
    return f"Tokens: {said}; {summary.control_words(report)}."


def _accepting_elsewhere(report: GateReport) -> Iterator[Block]:
    """Yield how to accept on a machine that cannot measure what was measured here."""
    new = [cell for cell in report.cells if isinstance(cell.verdict, Drift | Unrecorded)]
    profiles = [profile for profile in dict.fromkeys(cell.profile for cell in new) if profile]
    if profiles:
        told = [code(clipped(profile, _LONGEST_NAME)) for profile in profiles[:_MOST_PROFILES]]
        more = len(profiles) - _MOST_PROFILES
        named = ", ".join([*told, *([f"{more} more"] if more > 0 else [])])
        yield [f"These goldens are those of {named}. {_THERE}"]
        yield fence([commands.command(_FROM, _config(report.repeat_with))], "sh")


def _config(options: Sequence[str]) -> Sequence[str]:
    """Return which matrix is meant: with goldens from elsewhere there is no device."""
    place = options.index("--config") if "--config" in options else len(options)
    return options[place : place + 2]


def _rest(report: GateReport) -> Iterator[Piece]:
    if summary.measured_cells(report):
        yield _folded("Models", [_models(report)])
    if summary.has_tokens(report):
        yield _folded("Controls", list(control_blocks(report)))
    for part in report.logprobs:
        blocks = [
            [f"Suite {code(clipped(part.suite, _LONGEST_NAME))}."],
            *chain(note_blocks(part), suite_blocks(part)),
        ]
        yield _folded("Log-probabilities", blocks)
    yield _folded("Timing and provenance", [timing_block(report), *provenance_blocks(report)])


def _folded(name: str, blocks: Sequence[Block]) -> Piece:
    return Piece(name=f"{name[0].lower()}{name[1:]}", block=folded(name, blocks))


def _models(report: GateReport) -> Block:
    rows = [
        [
            code(model),
            ", ".join(code(name) for name in dict.fromkeys(cell.profile or "?" for cell in cells)),
            summary.run_words(cells),
            summary.agreement_words(cells),
        ]
        for model, pairs in summary.by_model(report).items()
        for cells in [[cell for _, cell in pairs]]
    ]
    return table(["model", "profile", "runs", "result"], rows)
