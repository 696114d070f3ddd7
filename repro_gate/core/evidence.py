"""What a command leaves behind for those who tell of it: a report, or why there is none."""

from dataclasses import dataclass, replace
from typing import TypeAlias

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.verdicts import Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The check came to an end, or was interrupted, and has a report."""

    report: GateReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """The check could not be made: an invalid file, a wrong command line, nothing to measure."""

    exit_code: int
    message: str
    """In foreign words, one or more lines; it names the file and the place."""
    remedy: str | None = None


Evidence: TypeAlias = Finished | Unfinished
"""Where there is neither, the process was killed."""


def evidence_of(report: GateReport) -> Finished:
    """Return a report for those who tell of it.

    A cell that matches has no trace: it is nine tenths of a large report, nobody tells of it, and
    the golden has the same.
    """
    return Finished(report=replace(report, cells=tuple(map(_told, report.cells))))


def _told(cell: CellReport) -> CellReport:
    if cell.generation is None or not isinstance(cell.verdict, Match):
        return cell
    return replace(cell, generation=replace(cell.generation, trace=()))
