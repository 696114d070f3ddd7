"""What can be added to a history: session files, report folders of checks, and baselines."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from repro_gate.adapters.files.results import REPORT
from repro_gate.adapters.files.untrusted_files import require_no_link
from repro_gate.adapters.history.calibrations import calibration_sessions, is_baseline
from repro_gate.adapters.history.checks import LOG_KEY_LENGTH, check_sessions
from repro_gate.adapters.history.files import (
    OPEN,
    SEALED,
    closed_of,
    file_of,
    make_folders,
    opened,
    place_of,
    write_open,
    write_sealed,
)
from repro_gate.adapters.history.lines import FoundSession, header_line
from repro_gate.adapters.logs.draws import FILE as DRAWS
from repro_gate.core.history import SessionKind
from repro_gate.errors import InputInvalid

_LOGS: Final = frozenset({"runs.jsonl", "calibration.jsonl"})
"""Of other commands, beside a report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A session that was found in a source."""

    place: str
    is_new: bool
    """Whether it, or a draw of it, was not in the history."""
    is_closed: bool


def add_source(history: Path, source: Path) -> Iterator[Added]:
    """Add every session of a file or a folder to the files of a history, and yield each.

    A session that is there already is nothing.

    Raises:
        InputInvalid: it has no session, or one that is broken, or differs from one of its key.
        MeasurementUnavailable: another process is writing one that is not closed.
        OSError: a file cannot be written.
    """
    found = False
    for file in _files_of(history, source):
        for session in _sessions_of(file):
            found = True
            yield _add(history, session)
    if not found:
        expected = f"a session file, a report folder with {DRAWS}, or a baseline"
        raise InputInvalid.at(source, "", expected=expected, found="none")


def _files_of(history: Path, source: Path) -> Iterator[Path]:
    """Yield the files of a source that may have sessions."""
    if not source.is_dir():
        yield source
        return
    require_no_link(source)
    own = history.resolve()
    for folder, inner, names in os.walk(source):
        inner[:] = sorted(name for name in inner if (Path(folder) / name).resolve() != own)
        for name in sorted(names):
            file = Path(folder) / name
            if name.endswith((SEALED, OPEN)):
                is_session = name not in _LOGS
            else:
                is_session = file.suffix == ".json" and name != REPORT and is_baseline(file)
            if is_session:
                yield file


def _sessions_of(file: Path) -> Iterator[FoundSession]:
    if file.name == DRAWS:
        yield from check_sessions(file.parent)
    elif file.name.endswith((SEALED, OPEN)):
        yield _stored(file)
    else:
        yield from calibration_sessions(file)


def _stored(file: Path) -> FoundSession:
    """Return the session of a session file, after reading all of it."""
    closed_at = closed_of(file).closed if file.name.endswith(SEALED) else None
    with opened(file) as session:
        header = session.header

    def draws() -> Iterator[bytes]:
        with opened(file) as session:
            yield from (line for line, _ in session.draws())

    return FoundSession(source=file, header=header, draws=draws, closed_at=closed_at)


def _add(history: Path, session: FoundSession) -> Added:
    place = place_of(session.header)
    make_folders(history, file_of(history, place, SEALED))
    add = _add_open if session.closed_at is None else _add_closed
    is_new = add(history, place, session)
    return Added(place=place, is_new=is_new, is_closed=session.closed_at is not None)


def _add_closed(history: Path, place: str, session: FoundSession) -> bool:
    running, head = file_of(history, place, OPEN), header_line(session.header)
    if running.exists() and session.header.kind is SessionKind.NIGHT:
        # The draws so far have to be the first ones of the closed night.
        write_open(running, head, session.draws())
    closed_at = session.closed_at or ""
    is_new = write_sealed(file_of(history, place, SEALED), head, session.draws(), closed_at)
    for each in _earlier(history, place, session, OPEN):
        each.unlink(missing_ok=True)
    return is_new


def _add_open(history: Path, place: str, session: FoundSession) -> bool:
    """Add a session that was killed, unless as much of it is in the history."""
    if _earlier(history, place, session, SEALED):
        return False
    lines = list(session.draws())
    running = file_of(history, place, OPEN)
    if session.header.kind is SessionKind.CHECK:
        # More draws may come with other results, so the whole file is written again.
        earlier = _earlier(history, place, session, OPEN)
        same = [each for each in earlier if each == running or session.header.suite is None]
        if same and sum(map(_count, same)) >= len(lines):
            return False
        for each in earlier:
            each.unlink()
    return write_open(running, header_line(session.header), lines)


def _count(file: Path) -> int:
    return sum(1 for _ in _stored(file).draws())


def _earlier(history: Path, place: str, session: FoundSession, ending: str) -> list[Path]:
    """Return the files of a session; of a check, also those from before its suites were known."""
    header, file = session.header, file_of(history, place, ending)
    if header.kind is not SessionKind.CHECK:
        return [file] if file.exists() else []
    log = header.key[:LOG_KEY_LENGTH]
    if header.suite is None:
        return sorted(file.parent.glob(f"{log}*{ending}"))
    return [each for each in (file, file.with_name(f"{log}{ending}")) if each.exists()]
