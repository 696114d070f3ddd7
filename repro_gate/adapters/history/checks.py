"""The sessions of a check: the draws of `draws.jsonl`, with the results of `report.json`."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

from repro_gate.adapters.files.results import REPORT, read_report
from repro_gate.adapters.files.untrusted_files import open_regular_file
from repro_gate.adapters.history.files import invalid_line, whole_lines
from repro_gate.adapters.history.lines import FoundSession
from repro_gate.adapters.logs.draws import FILE, from_line, read_header
from repro_gate.core.history import SessionCell, SessionHeader, SessionKind, date_of, utc_time
from repro_gate.core.logprobs.report import LogprobCellReport
from repro_gate.core.report import FinishedCheck, GateReport
from repro_gate.core.text import digest_of
from repro_gate.errors import InputInvalid

LOG_KEY_LENGTH: Final = len("2026-01-02-") + 16
"""Of the part of a key that all sessions of one check have."""
_LOG_DIGITS: Final = 16
_SUITE_DIGITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """A `draws.jsonl`, read once."""

    file: Path
    header: Mapping[str, Any]
    key: str
    """Of this check, whatever its draws so far are."""
    lines: int
    cells: Mapping[str, int]
    """The ids of the cells, with the line of the first draw of each."""

    def draws(self, cells: Mapping[str, object]) -> Iterator[bytes]:
        """Yield the lines of the draws of some cells, among those that were read."""
        has_all = self.cells.keys() <= cells.keys()
        for number, line in _lines_of(self.file):
            if number > self.lines:
                return
            if number > 1 and (has_all or from_line(line)[0][0] in cells):
                yield line


def check_sessions(folder: Path) -> Iterator[FoundSession]:
    """Yield the sessions of a report folder: one for each suite that was drawn.

    Without the report of these draws, as after a kill, there is one of no suite that is not closed.

    Raises:
        InputInvalid: a file is broken, or the two are not of one check.
    """
    log = _read_log(folder / FILE)
    if log is None:
        return
    report = _report_of(folder, log)
    if report is None:
        cells = {cell: _unknown(cell, log) for cell in log.cells}
        yield _session_of(log, cells, suite=None, closed_at=None)
        return
    seconds = timedelta(seconds=report.timing.wall_s)
    ended = (utc_time(report.started_at) + seconds).isoformat(timespec="seconds")
    for part in report.logprobs:
        cells = {cell.id: _cell_of(cell) for cell in part.cells if cell.id in log.cells}
        if cells:
            closed_at = None if report.interrupted else ended
            yield _session_of(log, cells, suite=part.suite, closed_at=closed_at)


def _session_of(
    log: _Log, cells: Mapping[str, SessionCell], *, suite: str | None, closed_at: str | None
) -> FoundSession:
    digits = "" if suite is None else f"-{_digest(suite.encode())[:_SUITE_DIGITS]}"
    header = SessionHeader(
        key=log.key + digits,
        kind=SessionKind.CHECK,
        suite=suite,
        epoch=None,
        started_at=log.header["started_at"],
        tool=log.header["tool"]["version"],
        cells=tuple(cells.values()),
    )
    return FoundSession(
        source=log.file, header=header, draws=lambda: log.draws(cells), closed_at=closed_at
    )


def _read_log(file: Path) -> _Log | None:
    """Return the draws so far; None before the check has begun."""
    header: Mapping[str, Any] = {}
    key, last, cells = "", 0, dict[str, int]()
    for last, line in _lines_of(file):
        try:
            if last == 1:
                header = read_header(line, file)
                key = f"{date_of(header['started_at'])}-{_digest(line)[:_LOG_DIGITS]}"
            else:
                cells.setdefault(from_line(line)[0][0], last)
        except (ValueError, OverflowError) as error:
            raise invalid_line(file, last, error) from error
    if not key:
        return None
    return _Log(file=file, header=header, key=key, lines=last, cells=cells)


def _lines_of(file: Path) -> Iterator[tuple[int, bytes]]:
    with open_regular_file(file, may_be_link=False) as stream:
        yield from enumerate(whole_lines(cast("Any", stream), file), start=1)


def _report_of(folder: Path, log: _Log) -> GateReport | None:
    """Return the report of these draws, or None; raises `InputInvalid` for one of others."""
    result = read_report(folder)
    if not isinstance(result, FinishedCheck) or not result.report.logprobs:
        return None
    report = result.report
    if utc_time(report.started_at) < utc_time(log.header["started_at"]):
        expected = f"the report of the draws in {FILE}, which start later"
        found = report.started_at
        raise InputInvalid.at(folder / REPORT, "started_at", expected=expected, found=found)
    drawn = {cell.id for part in report.logprobs for cell in part.cells}
    for cell, line in log.cells.items():
        if cell not in drawn:
            expected, found = f"a cell of {REPORT}", "another one"
            raise InputInvalid.at(log.file, f"line {line}: cell", expected=expected, found=found)
    return report


def _cell_of(report: LogprobCellReport) -> SessionCell:
    cell = report.cell
    provider = cell.policy.provider
    return SessionCell(
        id=cell.id,
        policy=cell.policy.name,
        item=cell.item.name,
        definition=digest_of(dict(cell.definition)),
        usd_per_million_tokens=0.0 if provider.is_local else provider.usd_per_million_tokens,
        center=report.center,
        bound=report.outliers[0].bound if report.outliers else None,
        verdict=report.verdict.word,
    )


def _unknown(cell: str, log: _Log) -> SessionCell:
    policy, _, item = cell.partition("--")
    try:
        return SessionCell(id=cell, policy=policy, item=item)
    except ValueError as error:
        place = f"line {log.cells[cell]}: cell"
        expected = "the names of a policy and an item"
        raise InputInvalid.at(log.file, place, expected=expected, found=str(error)) from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
