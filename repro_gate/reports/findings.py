"""What needs a reader's attention: every cell that does not match, told once for all alike."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from repro_gate.core.judgement import doubt
from repro_gate.core.outcome import Outcome, outcome_of_verdict
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.verdicts import (
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphaned,
    Unrecorded,
    Vacuous,
)
from repro_gate.reports import commands, foreign
from repro_gate.reports.describe import WORDS, describe
from repro_gate.reports.explain import explain
from repro_gate.reports.figures import plural

_CHECK = "repro-gate check"
_UPDATE = "repro-gate update-snapshots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cell that does not match, or several of which the same is to be said."""

    cells: tuple[CellReport, ...]
    """At least one; what holds for the first holds for all."""
    command: str | None
    """What accepts the finding; None when nothing but a cure would do."""
    repeat: str | None
    """What measures the cells again; None when there is nothing to measure."""

    @property
    def first(self) -> CellReport:
        """The cell to describe."""
        return self.cells[0]

    @property
    def count_words(self) -> str:
        """How many cells, or goldens without a cell, the finding is about."""
        return plural(len(self.cells), "golden" if self.first.cell is None else "cell")

    @property
    def ids(self) -> tuple[str, ...]:
        """What the finding is about, in printable text."""
        return tuple(foreign.one_line(cell.id) for cell in self.cells)


def findings(report: GateReport) -> tuple[Finding, ...]:
    """Return what does not match: the worst verdicts first, and what is unknown last."""
    unmatched = [cell for cell in report.cells if not isinstance(cell.verdict, Match)]
    groups: dict[Hashable, list[CellReport]] = defaultdict(list)
    for cell in sorted(unmatched, key=_rank):
        groups[_key(cell)].append(cell)
    others = sorted({cell.id for cell in unmatched})
    return tuple(
        Finding(
            cells=tuple(cells),
            command=_command(cells, report, others),
            repeat=_repeat(cells, report),
        )
        for cells in groups.values()
    )


def accepting_all(report: GateReport) -> str:
    """Return the command that accepts every finding that can be accepted by measuring it."""
    cells = [cell for cell in report.cells if _is_acceptable(cell, report)]
    return " ".join([_update(report), *_suites(cells)])


def accepting_by_model(report: GateReport) -> Iterator[tuple[Sequence[CellReport], str]]:
    """Yield the cells of each model whose several findings one command accepts, and it."""
    acceptable = [finding for finding in findings(report) if _is_acceptable(finding.first, report)]
    of_model: dict[str, list[Finding]] = defaultdict(list)
    for finding in acceptable:
        for model in dict.fromkeys(cell.cell.model for cell in finding.cells if cell.cell):
            of_model[model].append(finding)
    others = sorted({cell.id for cell in report.cells if not isinstance(cell.verdict, Match)})
    for model, found in of_model.items():
        cells = [
            cell
            for finding in found
            for cell in finding.cells
            if cell.cell is not None and cell.cell.model == model and _is_acceptable(cell, report)
        ]
        if len(found) > 1 and commands.pattern_of([cell.id for cell in cells], others) is not None:
            selected = commands.only([cell.id for cell in cells], others)
            yield cells, " ".join([_update(report), *_suites(cells), selected])


def _is_acceptable(cell: CellReport, report: GateReport) -> bool:
    """Return whether an update would record what was seen: not of a model that is doubted."""
    if cell.cell is None or not isinstance(cell.verdict, Drift | Unrecorded):
        return False
    controls = (control for control in report.controls if control.model == cell.cell.model)
    return not isinstance(doubt(cell.cell, controls), Vacuous)


def _rank(cell: CellReport) -> tuple[bool, int]:
    is_unknown = outcome_of_verdict(cell.verdict) is Outcome.INCONCLUSIVE
    return is_unknown, WORDS.index(cell.verdict.word)


def _key(cell: CellReport) -> Hashable:
    """Return what two cells share when one block can speak for both."""
    explanation = explain(cell)
    if explanation is None:
        return cell.verdict.word, describe(cell), None
    # What was said before, and by how little it was chosen, may differ where all else is alike.
    parted = replace(explanation, before=(), margin=None, golden_margin=None)
    return cell.verdict.word, describe(cell), parted


def _command(cells: Sequence[CellReport], report: GateReport, others: Sequence[str]) -> str | None:
    match cells[0].verdict:
        case Drift() | Unrecorded():
            accepted = [cell for cell in cells if _is_acceptable(cell, report)]
            selected = commands.only([cell.id for cell in accepted], others)
            return " ".join([_update(report), *_suites(accepted), selected]) if accepted else None
        case Orphaned():
            return f"{_update(report)} --prune"
        case Match() | Nondeterministic() | Vacuous() | Inconclusive():
            return None
        case _:
            assert_never(cells[0].verdict)


def _repeat(cells: Sequence[CellReport], report: GateReport) -> str | None:
    if cells[0].cell is None:
        return None
    check = commands.command(_CHECK, report.repeat_with)
    # To measure more cells than these takes longer, and changes nothing.
    return " ".join([check, *_suites(cells), commands.only([cell.id for cell in cells], ())])


def _suites(cells: Sequence[CellReport]) -> Iterable[str]:
    # Without its suite a cell is not found, unless the suite is one of the default ones.
    names = dict.fromkeys(cell.suite for cell in cells if cell.suite is not None)
    return (f"--suite {commands.quoted(name)}" for name in names)


def _update(report: GateReport) -> str:
    return commands.command(_UPDATE, report.repeat_with)
