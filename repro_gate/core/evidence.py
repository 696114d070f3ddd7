"""The result of a check: a report, or the reason why there is none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from repro_gate.core.guards import require_at_least
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.verdicts import Match

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The check came to its end, or was interrupted, and has a report."""

    report: GateReport
    observed: Mapping[str, str] = field(default_factory=dict[str, str])
    """By cell id, the SHA-256 of the file below `observed/` that was written of the cell."""

    def __post_init__(self) -> None:
        run = {cell.id for cell in self.report.cells if cell.generation and cell.profile}
        for cell_id, digest in self.observed.items():
            if cell_id not in run:
                raise ValueError(f"nothing was observed of {cell_id}")
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"a SHA-256 has 64 hexadecimal digits, got {digest}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """The check could not be made: an invalid file, a wrong command line, nothing to measure."""

    exit_code: int
    message: str
    """Untrusted text of one or more lines; it names the file and the place."""
    remedy: str | None = None

    def __post_init__(self) -> None:
        require_at_least(1, exit_code=self.exit_code)


Evidence: TypeAlias = Finished | Unfinished
"""A check that was killed leaves neither."""


def evidence_of(report: GateReport, *, observed: Mapping[str, str] = {}) -> Finished:
    """Return the result of a check as it is kept.

    A cell that matches has no trace: it would be nine tenths of a large report, no report shows
    it, and the golden has the same.
    """
    cells = tuple(map(_without_needless_trace, report.cells))
    return Finished(report=replace(report, cells=cells), observed=observed)


def _without_needless_trace(cell: CellReport) -> CellReport:
    if cell.generation is None or not isinstance(cell.verdict, Match):
        return cell
    return replace(cell, generation=replace(cell.generation, trace=()))
