"""The findings of both gates, for a reader who has the first one open."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Unrecorded
from repro_gate.reports.findings.facts import by_effect, known_change
from repro_gate.reports.findings.logprobs import logprob_findings
from repro_gate.reports.findings.tokens import Finding, severity, token_findings
from repro_gate.reports.html.check.draws import Drawn, drawn_of
from repro_gate.reports.html.check.summary import STYLES, Command, named
from repro_gate.reports.html.check.tokens import Fork, fork_of
from repro_gate.reports.text.escape import escape_change, shortened
from repro_gate.reports.text.format import plural

_MAX_SHOWN: Final = 200
"""Findings; each has a table of tokens, which takes a browser time."""
_MAX_IDS: Final = 200
_MAX_CHANGES: Final = 60
_OF_LIBRARIES: Final = "library."

Cells: TypeAlias = tuple[CellReport, ...] | tuple[LogprobCellReport, ...]
"""Of one gate."""


@dataclass(frozen=True, slots=True)
class Change:
    """A fact that changed since the recording."""

    whole: FactChange
    effect: str = ""
    """What is known of it; without untrusted text."""

    @property
    def short(self) -> FactChange:
        """The change with short digests."""
        return shortened(self.whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What changed since the recording."""

    title: str
    shown: tuple[Change, ...]
    of_libraries: tuple[Change, ...]
    """Of every build; empty where nothing else changed."""
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A finding on the page."""

    number: int
    """Counted from 1; links lead to it."""
    word: str
    style: str
    subject: str
    ids: tuple[str, ...]
    """Of the cells or goldens, where there are several."""
    more_ids: int
    others: str
    """How many there are besides the first one."""
    suites: str
    """Untrusted, as all texts from here on."""
    models: str
    """Models of tokens, or policies."""
    finding: Finding
    cells: Cells
    lines: tuple[tuple[str, str], ...]
    """Figures besides those of the fork and of the draws."""
    fork: Fork | None
    drawn: Drawn | None
    """Of a hosted cell, the first one where there are several."""
    changes: Changes | None
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The findings that the page shows, and how many more there are."""

    shown: tuple[Shown, ...]
    more: int

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.shown)

    def of_cells(self) -> dict[int, int]:
        """Return the number of the finding of each cell of both gates, by `id()` of the cell."""
        return {id(cell): each.number for each in self.shown for cell in each.cells}


def findings_of(report: GateReport) -> Findings:
    """Return the findings of a report, the worst first."""
    hosted = chain.from_iterable(_hosted(part, report) for part in report.logprobs)
    sources = [*map(_of_tokens, token_findings(report)), *hosted]
    found = sorted(sources, key=lambda each: severity(each.finding))
    shown = (_shown(number, each) for number, each in enumerate(found[:_MAX_SHOWN], 1))
    return Findings(shown=tuple(shown), more=max(0, len(found) - _MAX_SHOWN))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A finding with its cells and their names."""

    finding: Finding
    suites: Iterable[str]
    models: Iterable[str]
    cells: Cells
    drawn: Drawn | None = None


def _of_tokens(finding: Finding) -> _Source:
    cells = finding.cells
    return _Source(
        finding=finding,
        suites=(each.suite for each in cells),
        models=(each.cell.model for each in cells),
        cells=cells,
    )


def _hosted(part: LogprobReport, report: GateReport) -> Iterator[_Source]:
    """Yield the findings of a suite, those on cells with their draws."""
    by_id = {cell.id: cell for cell in part.cells}
    for finding in logprob_findings(part, report):
        named = [by_id[name] for name in finding.ids if name in by_id]
        # A failed control has the name of its cell.
        cells = tuple(cell for cell in named if cell.verdict.word == finding.word)
        yield _Source(
            finding=finding,
            suites=[part.suite],
            models=(cell.cell.policy.name for cell in cells),
            cells=cells,
            drawn=drawn_of(cells[0]) if cells else None,
        )


def _shown(number: int, source: _Source) -> Shown:
    finding, drawn, fork = source.finding, source.drawn, _fork(source.finding)
    lines = finding.lines if drawn is None else drawn.lines
    return Shown(
        number=number,
        word=finding.word,
        style=STYLES[finding.outcome],
        subject=finding.subject,
        ids=finding.listed[:_MAX_IDS],
        more_ids=max(0, len(finding.listed) - _MAX_IDS),
        others=plural(len(finding.listed) - 1, "other"),
        suites=named(source.suites),
        models=named(source.models),
        finding=finding,
        cells=source.cells,
        lines=finding.modes if fork is not None else (*finding.modes, *lines),
        fork=fork,
        drawn=drawn,
        changes=_changes(finding),
        commands=tuple(_commands(finding)),
    )


def _fork(finding: Finding) -> Fork | None:
    explanation = finding.explanation
    return None if explanation is None else fork_of(finding.cells[0], explanation)


def _changes(finding: Finding) -> Changes | None:
    """Return the changes of the provenance, or of the definition of the first cell."""
    facts = by_effect(finding.description.suspects)
    found = [Change(each, known_change(each).sentence) for each in facts]
    title = f"Changed since the {finding.recorded} was recorded"
    if not found:
        found = [Change(escape_change(each)) for each in _defined(finding.cells)]
        title = f"Changed in the definition of {finding.cells[0].id}" if found else title
    others = [each for each in found if not each.whole.name.startswith(_OF_LIBRARIES)]
    libraries = [each for each in found if each.whole.name.startswith(_OF_LIBRARIES)]
    shown = others or found
    if not found:
        return None
    return Changes(
        title=title,
        shown=tuple(shown[:_MAX_CHANGES]),
        of_libraries=() if shown is found else tuple(libraries[:_MAX_CHANGES]),
        more=max(0, len(shown) - _MAX_CHANGES),
    )


def _defined(cells: Sequence[CellReport]) -> Sequence[FactChange]:
    """Return how the definition of the first cell differs from that of its golden."""
    verdict = cells[0].verdict if cells else None
    if not isinstance(verdict, Unrecorded) or verdict.former is None:
        return ()
    return verdict.former.changes


def _commands(finding: Finding) -> Iterator[Command]:
    if finding.repeat is not None:
        yield Command(label="measure again", text=finding.repeat)
    if finding.command is not None:
        yield Command(label=finding.command_label, text=finding.command)
