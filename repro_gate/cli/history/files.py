"""`repro-gate history add` and `history export`."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from repro_gate.adapters.files.atomic import created
from repro_gate.adapters.history.export import ExportFormat, Values, rows_of, write_export
from repro_gate.adapters.history.folder import HistoryFolder
from repro_gate.adapters.history.sources import Added, add_source
from repro_gate.cli.paths import make_report_folder
from repro_gate.cli.terminal.console import print_line, warn
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import InputInvalid, UsageInvalid
from repro_gate.reports.text.format import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The options of `history export`."""

    wanted: str
    output: Path | None
    suite: str | None
    cells: str | None
    """A pattern."""


def run_add(folder: Path, sources: Sequence[Path]) -> ExitCode:
    """Add the sources, print what is new, and return the exit code."""
    make_report_folder(folder.parent)
    added: list[Added] = []
    for source in sources:
        for session in add_source(folder, source):
            added.append(session)
            if session.is_new:
                ended = "" if session.is_closed else " (interrupted)"
                print_line(f"added {session.place}{ended}")
    with closing(HistoryFolder(folder)) as history:
        history.refresh()
    new = sum(session.is_new for session in added)
    known = len(added) - new
    print_line(f"{plural(new, 'new session')}, {known} known")
    return ExitCode.PASSED


def run_export(folder: Path, options: ExportOptions) -> ExitCode:
    """Write the draws of a history, and return the exit code."""
    wanted = _format_of(options)
    if not folder.is_dir():
        expected, found = "the folder of a history; history add makes one", "none"
        raise InputInvalid.at(folder, "", expected=expected, found=found)
    with closing(HistoryFolder(folder)) as history:
        cells = None
        if options.cells is not None:
            ids = {point.cell.id for _, point in history.points(options.suite)}
            cells = {cell for cell in ids if fnmatchcase(cell, options.cells)}
        rows = rows_of(history, suite=options.suite, cells=cells)
        return _write(rows, wanted, options.output)


def _write(rows: Iterable[Values], wanted: ExportFormat, output: Path | None) -> ExitCode:
    if output is None:
        count = write_export(rows, sys.stdout.buffer, wanted)
    else:
        with created(output, may_replace=True) as stream:
            count = write_export(rows, stream, wanted)
    warn(f"repro-gate: {plural(count, 'draw')} exported")
    # An empty table would look like a quiet service.
    return ExitCode.PASSED if count else ExitCode.INCONCLUSIVE


def _format_of(options: ExportOptions) -> ExportFormat:
    try:
        wanted = ExportFormat(options.wanted)
    except ValueError as error:
        known = ", ".join(ExportFormat)
        raise UsageInvalid(f"--format is one of {known}, not {options.wanted!r}") from error
    if wanted is ExportFormat.PARQUET and options.output is None:
        raise UsageInvalid("--format parquet needs --output FILE")
    return wanted
