"""`repro-gate explain`: the divergence of one cell of a stored report."""

from fnmatch import fnmatchcase
from pathlib import Path

from repro_gate.adapters.files.results import MAX_SHARD_BYTES, REPORT, read_report
from repro_gate.cli import wiring
from repro_gate.cli.session import Selection, open_session
from repro_gate.core.cause import diagnose
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import CellReport, FinishedCheck, GateReport
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import Facts, Golden
from repro_gate.errors import InputInvalid, UsageInvalid
from repro_gate.reports.explain import render_explanation

_MAX_LISTED = 5


def run_explain(pattern: str, folder: Path, config: Path | None) -> ExitCode:
    """Print what is known of the divergence of a cell.

    Raises:
        InputInvalid: there is no report of a finished check, or a file is invalid.
        UsageInvalid: not exactly one cell matches.
    """
    report = _read(folder)
    cell = _cell(report, pattern)
    committed = _committed(cell, config)
    facts: Facts = {} if cell.provenance is None else report.provenances[cell.provenance]
    found = diagnose(cell, facts=facts, committed=committed)
    print(render_explanation(report, cell, found, committed), end="")
    return ExitCode.PASSED


def _read(folder: Path) -> GateReport:
    # It may be that of a large matrix of this machine.
    result = read_report(folder, max_bytes=MAX_SHARD_BYTES)
    if isinstance(result, FinishedCheck):
        return result.report
    found = "none" if result is None else f"a check that did not start: {result.message}"
    expected = "the report of a check, as repro-gate check writes it"
    raise InputInvalid.at(folder / REPORT, "", expected=expected, found=escape_text(found))


def _cell(report: GateReport, pattern: str) -> CellReport:
    exact = [cell for cell in report.cells if cell.id == pattern]
    cells = exact or [cell for cell in report.cells if fnmatchcase(cell.id, pattern)]
    if len(cells) == 1:
        return cells[0]
    ids = [cell.id for cell in cells or report.cells]
    listed = ", ".join([*ids[:_MAX_LISTED], *(["..."] if ids[_MAX_LISTED:] else [])]) or "none"
    if cells:
        raise UsageInvalid(f"{len(cells)} cells match {pattern!r}: {listed}")
    raise UsageInvalid(f"no cell of tokens in the report matches {pattern!r}; it has: {listed}")


def _committed(cell: CellReport, config: Path | None) -> Golden | None:
    goldens = wiring.workspace_for(open_session(Selection(config=config))).goldens
    if cell.profile is None or cell.id not in goldens.recorded(cell.profile):
        return None
    return goldens.read(cell.profile, cell.id)
