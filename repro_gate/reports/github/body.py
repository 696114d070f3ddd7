"""The body of a comment: parts of a report by importance, each shown whole or not at all."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final

from repro_gate.core.comments import CiRun
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.verdicts import Drift, Unrecorded
from repro_gate.reports.findings import summary
from repro_gate.reports.findings.notes import check_notes, logprob_notes, suite_test_notes
from repro_gate.reports.findings.tokens import accept_all_command, accept_commands_by_model
from repro_gate.reports.github.fit import Piece, utf16_units
from repro_gate.reports.github.links import download_command
from repro_gate.reports.github.sections import (
    Section,
    hosted_sections,
    shared_block,
    shared_changes,
    token_sections,
)
from repro_gate.reports.markdown import control_blocks, provenance_blocks, timing_block
from repro_gate.reports.markdown_findings import note_blocks
from repro_gate.reports.markdown_logprobs import part_line, suite_blocks
from repro_gate.reports.text import shell
from repro_gate.reports.text.escape import clipped
from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import Block, code, fence, folded, joined, table

_OPEN: Final = 2
"""Findings of each gate that are not folded: what a reviewer can take in at a glance."""
_MAX_SECTIONS: Final = 20
"""Findings of each gate that are told in full: more of them say no more."""
_FEW: Final = 5
"""Findings that are accepted one by one."""
_MAX_LIST_LENGTH: Final = 24_000
"""In UTF-16 units; it leaves room for all else in a comment."""
_MAX_SUITES: Final = 10
_MAX_MODELS: Final = 30
_MAX_PROFILES: Final = 4
_MAX_NAME_LENGTH: Final = 100
_THERE: Final = (
    "On a machine with another profile, download the report and accept the observed goldens:"
)
_UNPACK: Final = (
    "On a machine with another profile, unpack the full report of the run into `DIR` "
    "and accept the observed goldens there:"
)
_UPDATE: Final = "repro-gate update-snapshots --from"
_FORK: Final = (
    "**This run is from a fork**, so its artifacts are untrusted: "
    "measure on your own machine before accepting anything."
)


def passed_sections(report: GateReport) -> Iterator[Piece]:
    """Yield what a pass rests on."""
    yield Piece(name="the suites", block=_suites(report))
    if report.notes:
        yield Piece(name="notes", block=joined([*note_blocks(check_notes(report))]))
    for part in report.logprobs:
        for note in (*suite_test_notes(part), *logprob_notes(part)):
            yield Piece(name="notes", block=[f"**Note**: {note.claim}."])


def finding_sections(report: GateReport, run: CiRun) -> Iterator[Piece]:
    """Yield the findings, with what they have in common before them and the rest after them.

    What shows the whole of many findings goes before the single ones, which it may leave no room.
    """
    yield Piece(name="the suites", block=_suites(report))
    if _new(report) and run.has_foreign_head:
        yield Piece(name="trust in a fork", block=[_FORK])
    common = list(shared_block(shared_changes(report)))
    if common:
        yield Piece(name="what changed", block=joined(common))
    tokens, hosted = token_sections(report), hosted_sections(report)
    for section in (*tokens[:_OPEN], *hosted[:_OPEN]):
        yield Piece(block=section.open())
    yield from _accepting(report, run, _acceptable(tokens))
    yield from _overview(report)
    for section in (*tokens[_OPEN:_MAX_SECTIONS], *hosted[_OPEN:_MAX_SECTIONS]):
        yield Piece(block=section.folded())
    more = [*tokens[_MAX_SECTIONS:], *hosted[_MAX_SECTIONS:]]
    if more:
        yield Piece(block=_list(more), findings=len(more))
    yield from _rest(report)


def _suites(report: GateReport) -> Block:
    lines = [f"- {_token_words(report)}"] if summary.has_tokens(report) else []
    lines += [
        f"- {code(clipped(part.suite, _MAX_NAME_LENGTH))}: {part_line(part, report)}"
        for part in report.logprobs[:_MAX_SUITES]
    ]
    more = len(report.logprobs) - _MAX_SUITES
    return [*lines, f"- and {more} more suites"] if more > 0 else lines


def _token_words(report: GateReport) -> str:
    cells = report.cells
    if not cells:
        return "Tokens: no cell was checked."
    said = f"{summary.format_runs(cells)}, {summary.format_repetition(cells)}"
    return f"Tokens: {said}; {summary.format_controls(report)}."


def _list(sections: Sequence[Section]) -> Block:
    """Return findings as no more than their names, as many as can be of use."""
    lines: list[str] = []
    room = _MAX_LIST_LENGTH
    for section in sections:
        room -= utf16_units(section.line) + 1
        if room < 0:
            break
        lines.append(section.line)
    more = len(sections) - len(lines)
    blocks = [fence(lines, "text"), *([[f"and {more} more."]] if more else [])]
    return folded(plural(len(sections), "more finding"), blocks)


def _new(report: GateReport) -> Sequence[CellReport]:
    return [cell for cell in report.cells if isinstance(cell.verdict, Drift | Unrecorded)]


def _acceptable(tokens: Sequence[Section]) -> int:
    return sum(section.word in {Drift.word, Unrecorded.word} for section in tokens)


def _accepting(report: GateReport, run: CiRun, acceptable: int) -> Iterator[Piece]:
    """Yield the commands that are about several findings, or about the report itself."""
    new = _new(report)
    if acceptable > _FEW:
        yield Piece(name="how to accept all", block=_accepting_all(report, new))
    else:
        for cells, command in accept_commands_by_model(report):
            note = f"# accept all {len(cells)} cells of this model that drifted or have no golden"
            yield Piece(name="how to accept all of a model", block=fence([note, command], "sh"))
    profiles = [profile for profile in dict.fromkeys(cell.profile for cell in new) if profile]
    if profiles and not run.has_foreign_head:
        elsewhere = _accepting_elsewhere(report, run, profiles)
        yield Piece(name="how to accept from elsewhere", block=elsewhere)
    elif run.artifact is not None and not run.has_foreign_head:
        download = download_command(run, run.artifact, _folder(run))
        block = fence(["# download the report", download], "sh")
        yield Piece(name="how to download the report", block=block)


def _accepting_all(report: GateReport, new: Sequence[CellReport]) -> Block:
    cells = f"# accept all {len(new)} cells that drifted or have no golden"
    return fence([cells, accept_all_command(report)], "sh")


def _accepting_elsewhere(report: GateReport, run: CiRun, profiles: Sequence[str]) -> Block:
    """Return how to accept on a machine that cannot measure what was measured here."""
    noun = "profile" if len(profiles) == 1 else "profiles"
    folder = "DIR" if run.artifact is None else _folder(run)
    accept = shell.command(f"{_UPDATE} {folder}", _config(report.repeat_with))
    if run.artifact is None:
        how, lines = _UNPACK, [accept]
    else:
        how, lines = _THERE, [download_command(run, run.artifact, folder), accept]
    said = [f"The observed goldens are for {noun} {_profiles(profiles)}. {how}"]
    return joined([said, fence(lines, "sh")])


def _folder(run: CiRun) -> str:
    return f"repro-gate-run-{run.id.run}"


def _profiles(profiles: Collection[str]) -> str:
    told = [code(clipped(each, _MAX_NAME_LENGTH)) for each in islice(profiles, _MAX_PROFILES)]
    more = len(profiles) - _MAX_PROFILES
    return ", ".join([*told, *([f"{more} more"] if more > 0 else [])])


def _config(options: Sequence[str]) -> Sequence[str]:
    """Return which matrix is meant: with goldens from elsewhere there is no device."""
    place = options.index("--config") if "--config" in options else len(options)
    return options[place : place + 2]


def _overview(report: GateReport) -> Iterator[Piece]:
    if report.cells:
        yield _folded("Models", _models(report))


def _rest(report: GateReport) -> Iterator[Piece]:
    if summary.has_tokens(report):
        yield _folded("Controls", control_blocks(report))
    if report.notes:
        yield _folded("Notes", note_blocks(check_notes(report)))
    for part in report.logprobs:
        blocks = [
            [f"Suite {code(clipped(part.suite, _MAX_NAME_LENGTH))}."],
            *chain(note_blocks(logprob_notes(part)), suite_blocks(part)),
        ]
        yield _folded("Log-probabilities", blocks)
    yield _folded("Timing and provenance", [timing_block(report), *provenance_blocks(report)])


def _folded(name: str, blocks: Iterable[Block]) -> Piece:
    return Piece(name=f"{name[0].lower()}{name[1:]}", block=folded(name, list(blocks)))


def _models(report: GateReport) -> Iterator[Block]:
    models = summary.by_model(report)
    rows = [
        [
            code(clipped(model, _MAX_NAME_LENGTH)),
            _profiles(dict.fromkeys(cell.profile or "?" for cell in cells)),
            summary.format_runs(cells),
            summary.format_agreement(cells),
        ]
        for model, cells in islice(models.items(), _MAX_MODELS)
    ]
    yield table(["model", "profile", "runs", "result"], rows)
    if len(models) > _MAX_MODELS:
        yield [f"and {len(models) - _MAX_MODELS} more."]
