"""The body of a comment: parts of a report by importance, each shown whole or not at all."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, assert_never

from repro_gate.core.comments import CiRun, CommentState
from repro_gate.core.outcome import Outcome, decide
from repro_gate.core.report import CheckResult, FinishedCheck, GateReport
from repro_gate.reports.findings import summary
from repro_gate.reports.findings.grades import outcomes_of_drifts
from repro_gate.reports.findings.notes import check_notes, logprob_notes, suite_test_notes
from repro_gate.reports.findings.tokens import (
    explain_command,
    is_acceptable,
)
from repro_gate.reports.github.causes import accept_sections, folder_of
from repro_gate.reports.github.fit import Section, utf16_units
from repro_gate.reports.github.links import commit_link, run_link
from repro_gate.reports.github.sections import (
    FindingSection,
    grade_sections,
    hosted_sections,
    shared_block,
    shared_changes,
    token_sections,
)
from repro_gate.reports.github.state import explain_no_verdict, no_verdict_blocks, state_of, tally
from repro_gate.reports.markdown import control_blocks, provenance_blocks, timing_block
from repro_gate.reports.markdown_findings import note_blocks
from repro_gate.reports.markdown_logprobs import part_line, suite_blocks
from repro_gate.reports.markdown_modes import better_blocks, mode_blocks
from repro_gate.reports.text.escape import clipped
from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import Block, code, fence, folded, joined, mark, table

_OPEN: Final = 2
"""Findings of each gate that are not folded."""
_MAX_GRADES: Final = 5
"""Grades of drift that are shown in full."""
_MAX_SECTIONS: Final = 20
"""Findings of each gate that are shown in full; of the rest there is a list of names."""
_MAX_LIST_LENGTH: Final = 24_000
"""In UTF-16 units, so that the rest of a comment fits too."""
_MAX_SUITES: Final = 10
_MAX_MODELS: Final = 30
_MAX_PROFILES: Final = 4
_MAX_NAME_LENGTH: Final = 100
_EXPLAIN: Final = (
    "{} shows all that is known of a divergence: after a check on your machine, "
    "or with {} of a downloaded report."
)
_FORK: Final = (
    "**This run is from a fork**, so its artifacts are untrusted: "
    "measure on your own machine before accepting anything."
)


def passed_sections(report: GateReport, run: CiRun) -> Iterator[Section]:
    """Yield the sections of a check that passed, with the drifts that its suites let pass."""
    yield from _modes(report)
    yield from _better(report)
    yield from _grades(report)
    yield Section(name="suites", block=_suites(report))
    yield from _shared(report)
    for section in token_sections(report)[:_MAX_SECTIONS]:
        yield Section(block=section.folded())
    yield from _explaining(report, run)
    if report.notes:
        yield Section(name="notes", block=joined([*note_blocks(check_notes(report))]))
    for part in report.logprobs:
        for note in (*suite_test_notes(part), *logprob_notes(part)):
            yield Section(name="notes", block=[f"**Note**: {note.claim}."])


def finding_sections(report: GateReport, run: CiRun) -> Iterator[Section]:
    """Yield the sections of a check with findings.

    What answers depend on and the grades of drift decide what to do, so they come first. An
    overview of many findings comes before the folded ones, which may not fit.
    """
    yield from _modes(report)
    yield from _grades(report)
    yield Section(name="suites", block=_suites(report))
    if run.from_fork and any(is_acceptable(cell, report) for cell in report.cells):
        yield Section(name="fork warning", block=[_FORK])
    yield from _shared(report)
    tokens, hosted = token_sections(report), hosted_sections(report)
    for section in (*tokens[:_OPEN], *hosted[:_OPEN]):
        yield Section(block=section.open())
    yield from accept_sections(report, run)
    yield from _explaining(report, run)
    yield from _overview(report)
    for section in (*tokens[_OPEN:_MAX_SECTIONS], *hosted[_OPEN:_MAX_SECTIONS]):
        yield Section(block=section.folded())
    more = [*tokens[_MAX_SECTIONS:], *hosted[_MAX_SECTIONS:]]
    if more:
        yield Section(block=_list(more, "finding"), findings=len(more))
    yield from _rest(report)


def _modes(report: GateReport) -> Iterator[Section]:
    blocks = list(mode_blocks(report))
    if blocks:
        yield Section(name="modes", block=joined(blocks))


def _better(report: GateReport) -> Iterator[Section]:
    blocks = list(better_blocks(report))
    if blocks:
        yield _folded("More holds than is required", blocks)


def _grades(report: GateReport) -> Iterator[Section]:
    sections = grade_sections(report)
    for section in sections[:_MAX_GRADES]:
        yield Section(name="grades of drift", block=section.open())
    if len(sections) > _MAX_GRADES:
        yield Section(name="grades of drift", block=_list(sections[_MAX_GRADES:], "grade"))


def _shared(report: GateReport) -> Iterator[Section]:
    common = list(shared_block(shared_changes(report)))
    if common:
        yield Section(name="changed facts", block=joined(common))


def _suites(report: GateReport) -> Block:
    lines = [f"- {_format_tokens(report)}"] if summary.has_tokens(report) else []
    lines += [
        f"- {code(clipped(part.suite, _MAX_NAME_LENGTH))}: {part_line(part, report)}"
        for part in report.logprobs[:_MAX_SUITES]
    ]
    more = len(report.logprobs) - _MAX_SUITES
    return [*lines, f"- and {more} more suites"] if more > 0 else lines


def _format_tokens(report: GateReport) -> str:
    cells = report.cells
    if not cells:
        return "Tokens: no cell was checked."
    runs = f"{summary.format_runs(cells)}, {summary.format_repetition(cells)}"
    return f"Tokens: {runs}; {summary.format_controls(report)}."


def _list(sections: Sequence[FindingSection], noun: str) -> Block:
    """Return the names of findings or grades, as many as fit into a bounded list."""
    lines: list[str] = []
    left = _MAX_LIST_LENGTH
    for section in sections:
        left -= utf16_units(section.line) + 1
        if left < 0:
            break
        lines.append(section.line)
    more = len(sections) - len(lines)
    blocks = [fence(lines, "text"), *([[f"and {more} more."]] if more else [])]
    return folded(plural(len(sections), f"more {noun}"), blocks)


def _explaining(report: GateReport, run: CiRun) -> Iterator[Section]:
    command = explain_command(report)
    if command is not None:
        folder = "DIR" if run.from_fork else folder_of(run)
        block = [_EXPLAIN.format(code(command), code(f"--report {folder}"))]
        yield Section(name="command to explain a cell", block=block)


def _profiles(profiles: Collection[str]) -> str:
    shown = [code(clipped(each, _MAX_NAME_LENGTH)) for each in islice(profiles, _MAX_PROFILES)]
    more = len(profiles) - _MAX_PROFILES
    return ", ".join([*shown, *([f"{more} more"] if more > 0 else [])])


def _overview(report: GateReport) -> Iterator[Section]:
    if report.cells:
        yield _folded("Models", _models(report))


def _rest(report: GateReport) -> Iterator[Section]:
    yield from _better(report)
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


def _folded(name: str, blocks: Iterable[Block]) -> Section:
    return Section(name=f"{name[0].lower()}{name[1:]}", block=folded(name, list(blocks)))


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


_NONE: Final = "⛔"
_PASSED: Final = "Everything requested was measured and matches what is recorded."
_ALLOWED: Final = (
    "Everything requested was measured. Some tokens differ from what is recorded; this is "
    "consistent with rounding, which their suites let pass."
)
_FIXED: Final = "The findings reported here before are gone. {}"
_UNKNOWN: Final = "This is neither a pass nor drift: something could not be measured."
_UNDECIDED: Final = (
    "Some tokens differ from what is recorded, and whether by more than rounding cannot be decided."
)
_PARTIAL: Final = (
    "**Partial**: the check was interrupted; everything it did not reach is inconclusive."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The title of a result, and the sections to show below it."""

    title: str
    lead: Block
    """All verdicts in one line; empty when there are none."""
    sections: Sequence[Section]


def headline_of(result: CheckResult | None, run: CiRun, *, was_found: bool) -> Headline:
    """Return the headline of a result.

    Args:
        result: what the check left behind; None when it left nothing.
        run: the run that made the result.
        was_found: whether an earlier result in the same place had findings.
    """
    if isinstance(result, FinishedCheck) and state_of(result, run) is not CommentState.BROKEN:
        return _of_report(result.report, run, was_found=was_found)
    title = f"{_NONE} No verdict: {explain_no_verdict(result, run)}, at {commit_link(run)}"
    return Headline(title=title, lead=(), sections=list(_of_none(result, run)))


def _of_report(report: GateReport, run: CiRun, *, was_found: bool) -> Headline:
    outcome, drifts = decide(report), outcomes_of_drifts(report)
    match outcome:
        case Outcome.PASSED:
            word = "Fixed" if was_found else "Passed"
            meaning = _ALLOWED if drifts else _PASSED
            meaning = _FIXED.format(meaning) if was_found else meaning
            sections = passed_sections(report, run)
        case Outcome.FAILED:
            word, meaning, sections = "Failed", "", finding_sections(report, run)
        case Outcome.INCONCLUSIVE:
            word, sections = "Inconclusive", finding_sections(report, run)
            meaning = _UNDECIDED if drifts.get(outcome) else _UNKNOWN
        case _:
            assert_never(outcome)
    meaning = _PARTIAL if report.interrupted else meaning
    first = [Section(name="meaning of the outcome", block=[meaning])] if meaning else []
    title = f"{mark(outcome)} {word} at {commit_link(run)}"
    return Headline(title=title, lead=[f"{tally(report)}."], sections=[*first, *sections])


def _of_none(result: CheckResult | None, run: CiRun) -> Iterator[Section]:
    for block in no_verdict_blocks(result, run):
        yield Section(name="message of the check", block=block)
    log = run_link(run, "log of the run")
    yield Section(
        name="link to the log", block=[f"Earlier results no longer apply. See the {log}."]
    )
