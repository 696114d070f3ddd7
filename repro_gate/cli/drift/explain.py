"""`repro-gate explain`: the divergence of one cell of a stored report."""

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from repro_gate.adapters.files.results import (
    MAX_SHARD_BYTES,
    REPORT,
    read_report,
    report_text,
    require_finished,
)
from repro_gate.cli import wiring
from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.terminal.console import warn
from repro_gate.core.cause import diagnose
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import CellReport, FinishedCheck, GateReport, excerpt_of
from repro_gate.core.tokens.golden import Facts, Golden
from repro_gate.errors import UsageInvalid
from repro_gate.reports.explain import render_explanation
from repro_gate.reports.json import summary_data
from repro_gate.reports.text.escape import one_line

_MAX_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiments:
    """What may be changed to find the cause."""

    device: str | None
    """None for that of the check."""
    engines: tuple[str, ...]
    """Other engines of the matrix."""


def explain_cell(
    pattern: str,
    folder: Path,
    config: Path | None,
    *,
    pack: Path | None = None,
    experiments: Experiments | None = None,
) -> ExitCode:
    """Print what is known of the divergence of a cell; write it to a file if asked to.

    Raises:
        InputInvalid: there is no report of a finished check, or a file is invalid.
        UsageInvalid: not exactly one cell matches, or the pack cannot be a new file.
    """
    if pack is not None:
        _require_new(pack)
    # It may be that of a large matrix of this machine.
    result = read_report(folder, max_bytes=MAX_SHARD_BYTES)
    report = require_finished(result, folder / REPORT).report
    cell = _cell(report, pattern)
    committed = _committed(cell, config)
    if pack is not None:
        _write_pack(pack, excerpt_of(report, cell), committed)
    _print(report, cell, committed)
    if experiments is None:
        return ExitCode.PASSED
    from repro_gate.cli.drift.attribute import run_attribution  # noqa: PLC0415 -- it is slow

    return run_attribution(report, cell, committed, config, experiments)


def explain_pack(file: Path) -> ExitCode:
    """Print what is known of the divergence of the cell in a pack; raises `InputInvalid`."""
    from repro_gate.adapters.files.packs import read_pack  # noqa: PLC0415 -- see `_write_pack`

    pack = read_pack(file)
    _print(pack.report, pack.cell, pack.golden)
    return ExitCode.PASSED


def _print(report: GateReport, cell: CellReport, committed: Golden | None) -> None:
    facts: Facts = {} if cell.provenance is None else report.provenances[cell.provenance]
    found = diagnose(cell, facts=facts, committed=committed, grade=report.grade_of(cell))
    print(render_explanation(report, cell, found, committed), end="", flush=True)


def _require_new(file: Path) -> None:
    if os.path.lexists(file):
        raise UsageInvalid(f"{file} exists: move it away, or name another file with --pack")
    if not file.parent.is_dir():
        raise UsageInvalid(f"there is no folder {file.parent}: name another file with --pack")


def _write_pack(file: Path, report: GateReport, golden: Golden | None) -> None:
    # Zip files take a while to import.
    from repro_gate.adapters.files.packs import write_pack  # noqa: PLC0415 -- slow

    result = FinishedCheck(report=report)
    write_pack(file, report_text(result, summary_data(result)), golden)
    has = "" if golden is None else ", the golden"
    warn(f"repro-gate: wrote {one_line(str(file))}: the result of the cell{has}, and no matrix")
    warn("  it has the prompt, the output and facts of the machine as plain text")


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
    compared = cell.golden_profile
    if compared is None or cell.id not in goldens.recorded(compared):
        return None
    return goldens.read(compared, cell.id)
