"""`index.sqlite`: the closed sessions of a history, to be searched; rebuilt from their files."""

import errno
import sqlite3
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from repro_gate.adapters.history.files import SessionFile
from repro_gate.adapters.history.lines import DrawLine
from repro_gate.adapters.history.rows import (
    DRAW_COLUMNS,
    POINT_COLUMNS,
    SESSION_COLUMNS,
    answer_text,
    answers_text,
    cell_text,
    digest_of_vector,
    doubles,
    draw_from,
    draw_values,
    point_from,
    session_from,
)
from repro_gate.adapters.history.schema import APPLICATION_ID, MIGRATIONS, VERSION
from repro_gate.core.history import CellSession, KeptDraw, Session, Tally
from repro_gate.core.logprobs.draw import Draw, MissedDraw
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from repro_gate.ports import Purpose

FILE: Final = "index.sqlite"
_BESIDE: Final = ("-wal", "-shm")
_STRICT: Final = (3, 37, 0)
"""The first SQLite with strict tables."""
_BUSY_MS: Final = 30_000
_MAX_KNOWN: Final = 1 << 17
"""Texts and vectors whose numbers are kept in memory."""
_MAX_NAMES: Final = 1_000
_INSERT_DRAW: Final = f"INSERT INTO draw VALUES ({', '.join('?' * 16)})"
_DRAWN_FROM: Final = (
    "draw JOIN cell USING (cell_id) LEFT JOIN vector USING (vector_id) "
    "LEFT JOIN answer USING (answer_id)"
)


class BrokenIndex(InputInvalid):
    """The index cannot be read; it can be deleted, and is rebuilt then."""


class Index:
    """The sessions of one history, in a database that one process at a time writes."""

    def __init__(self, file: Path | None) -> None:
        """Open a database, and make or migrate its tables.

        Args:
            file: the database; None for one in memory.

        Raises:
            BrokenIndex: it is damaged.
            InputInvalid: it is of a newer version, or of another program.
            MeasurementUnavailable: this Python has an old SQLite, or another process writes it.
            OSError: it cannot be opened.
        """
        _require_strict_tables()
        self._file = Path(FILE) if file is None else file
        self._known: dict[str, dict[str | bytes, int]] = {}
        """By table, the numbers of rows that are looked up often."""
        with self._translated():
            name = ":memory:" if file is None else str(file)
            self._database = sqlite3.connect(name, isolation_level=None, timeout=_BUSY_MS / 1e3)
        try:
            with self._translated():
                self._prepare()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the database; safe to call more than once."""
        self._database.close()

    def places(self) -> frozenset[str]:
        """Return the places of the sessions."""
        return frozenset(row[0] for row in self._rows("SELECT place FROM session"))

    @contextmanager
    def writing(self) -> Generator[None]:
        """Commit what is added within, all or nothing; other processes wait."""
        with self._translated():
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("PRAGMA defer_foreign_keys = ON")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                self._known.clear()
                raise

    def add(self, place: str, session: SessionFile) -> None:
        """Add a closed session that is not in the index; raises `InputInvalid`."""
        found = self._database.execute("SELECT coalesce(max(session_id), 0) + 1 FROM session")
        (number,) = found.fetchone()
        tallies = {cell.id: Tally(cell) for cell in session.header.cells}
        cells = {
            cell.id: self._number_of("cell", content=cell_text(cell), name=cell.id)
            for cell in session.header.cells
        }
        draws = (
            self._draw_row(number, cells, tallies, session, line) for _, line in session.draws()
        )
        self._database.executemany(_INSERT_DRAW, draws)
        for tally in tallies.values():
            self._add_point(number, cells[tally.cell.id], tally.summary())
        self._add_session(number, place, session)

    def sessions(self, suite: str | None) -> list[Session]:
        """Return the sessions of a suite and those of none, oldest first; None for all."""
        where, values = _of_suite(suite)
        query = f"SELECT {SESSION_COLUMNS} FROM session WHERE {where} ORDER BY started_at, place"
        return [session_from(row) for row in self._rows(query, values)]

    def points(
        self, suite: str | None, cells: Collection[str] | None
    ) -> Iterator[tuple[Session, CellSession]]:
        """Yield what is kept of each cell of these sessions, oldest first."""
        where, values = _of_suite(suite)
        chosen, names = _of_cells(cells)
        query = (
            f"SELECT session_id, {SESSION_COLUMNS}, {POINT_COLUMNS} FROM session "
            "JOIN point USING (session_id) JOIN cell USING (cell_id) JOIN answer USING (answer_id) "
            f"WHERE {where} AND {chosen} ORDER BY started_at, place, cell.name"
        )
        last, session = None, None
        for number, *row in self._rows(query, (*values, *names)):
            if session is None or number != last:
                last, session = number, session_from(row[:6])
            point = point_from(row[6:])
            if cells is None or point.cell.id in cells:
                yield session, point

    def draws(self, place: str, cells: Collection[str] | None) -> Iterator[KeptDraw]:
        """Yield the draws of a session in the order of its file."""
        chosen, names = _of_cells(cells)
        query = (
            f"SELECT {DRAW_COLUMNS} FROM {_DRAWN_FROM} JOIN session USING (session_id) "
            f"WHERE place = ? AND {chosen} ORDER BY line"
        )
        for row in self._rows(query, (place, *names)):
            draw = draw_from(row)
            if cells is None or draw.cell.id in cells:
                yield draw

    def _prepare(self) -> None:
        database = self._database
        for setting in (
            f"busy_timeout = {_BUSY_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            database.execute(f"PRAGMA {setting}").fetchall()
        self._require_ours()
        if self._pragma("user_version") == VERSION:
            return
        with self.writing():
            # Another process may have migrated it since.
            self._require_ours()
            for step in range(self._pragma("user_version"), VERSION):
                for statement in _statements(MIGRATIONS[step]):
                    database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _require_ours(self) -> None:
        version = self._pragma("user_version")
        tables = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables and self._pragma("application_id") != APPLICATION_ID:
            expected, found = "an index of repro-gate", "a database of another program"
            raise InputInvalid.at(self._file, "application_id", expected=expected, found=found)
        if version > VERSION:
            expected = f"at most version {VERSION}; update repro-gate, or delete the file"
            raise InputInvalid.at(self._file, "user_version", expected=expected, found=str(version))

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])

    def _draw_row(
        self,
        session_id: int,
        cells: dict[str, int],
        tallies: dict[str, Tally],
        session: SessionFile,
        line: DrawLine,
    ) -> tuple[Any, ...]:
        outcome, tally = line.outcome, tallies[line.cell]
        take = tally.take_control if line.purpose == Purpose.CONTROL else tally.take
        take(outcome)
        try:
            kind, total, at_ms, latency_us, request_id, *rest = draw_values(outcome)
        except ValueError as error:
            found = str(error)
            place = f"line {line.line}: facts.at"
            raise InputInvalid.at(session.file, place, expected="a time", found=found) from error
        vector = self._vector_of(outcome) if isinstance(outcome, Draw) else None
        answer = (
            None
            if isinstance(outcome, MissedDraw)
            else self._number_of("answer", content=answer_text(outcome.facts))
        )
        return (
            *(session_id, cells[line.cell], line.line, line.purpose, line.number),
            *(kind, total, vector, at_ms, latency_us, request_id, answer, *rest),
        )

    def _add_point(self, session_id: int, cell_id: int, point: CellSession) -> None:
        self._database.execute(
            f"INSERT INTO point VALUES ({', '.join('?' * 9)})",
            (
                *(session_id, cell_id, doubles(point.totals), point.invalid, point.missed),
                self._number_of("answer", content=answers_text(point)),
                *(point.latency_ms, point.usd, point.cached_tokens),
            ),
        )

    def _add_session(self, session_id: int, place: str, session: SessionFile) -> None:
        header, closed = session.header, session.closed
        if closed is None:
            raise ValueError(f"{place} is not closed")
        self._database.execute(
            f"INSERT INTO session VALUES ({', '.join('?' * 11)})",
            (
                *(session_id, place, header.kind.value, header.suite, header.epoch, header.key),
                *(header.started_at, closed.closed, header.tool, closed.draws),
                bytes.fromhex(closed.sha256),
            ),
        )

    def _vector_of(self, draw: Draw) -> int:
        data = doubles(draw.logprobs)
        return self._number_of("vector", digest=digest_of_vector(data), logprobs=data)

    def _number_of(self, table: str, **values: str | bytes) -> int:
        """Return the number of the row with a value in the first column; it is added if new."""
        known = self._known.setdefault(table, {})
        (column, content), *_ = values.items()
        number = known.get(content)
        if number is None:
            query = f"SELECT {table}_id FROM {table} WHERE {column} = ?"
            row = self._database.execute(query, (content,)).fetchone()
            if row is None:
                names, places = ", ".join(values), ", ".join("?" * len(values))
                insert = f"INSERT INTO {table} ({names}) VALUES ({places})"
                number = self._database.execute(insert, tuple(values.values())).lastrowid or 0
            else:
                number = int(row[0])
            if len(known) >= _MAX_KNOWN:
                known.clear()
            known[content] = number
        return number

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        with self._translated():
            yield from self._database.execute(query, values)

    @contextmanager
    def _translated(self) -> Generator[None]:
        """Raise errors of SQLite as what they mean here."""
        try:
            yield
        except sqlite3.Error as error:
            # The code of an extended error has the primary one in its lowest byte.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                reason = f"another command is writing {self._file}"
                remedy = "wait until it ends, or stop it"
                raise MeasurementUnavailable(reason, remedy=remedy) from error
            if code in _SYSTEM_ERRORS:
                raise OSError(_SYSTEM_ERRORS[code], str(error), str(self._file)) from error
            expected = "an index as repro-gate has written it; delete it, and it is rebuilt"
            raise BrokenIndex.at(self._file, "", expected=expected, found=str(error)) from error


_SYSTEM_ERRORS: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
}


def remove_index(file: Path) -> None:
    """Remove an index, to rebuild it; raises OSError."""
    for each in (file, *(file.with_name(f"{file.name}{suffix}") for suffix in _BESIDE)):
        each.unlink(missing_ok=True)


def _require_strict_tables() -> None:
    if sqlite3.sqlite_version_info < _STRICT:
        needed = ".".join(map(str, _STRICT[:2]))
        raise MeasurementUnavailable(
            f"a history needs SQLite {needed}, and this Python has {sqlite3.sqlite_version}",
            remedy="use a Python that is built with a newer SQLite",
        )


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script, each of which ends at the end of a line."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _of_suite(suite: str | None) -> tuple[str, tuple[str, ...]]:
    return ("TRUE", ()) if suite is None else ("(suite = ? OR suite IS NULL)", (suite,))


def _of_cells(cells: Collection[str] | None) -> tuple[str, tuple[str, ...]]:
    # SQLite limits the values of a query; with more names, all rows are read.
    if cells is None or len(cells) > _MAX_NAMES:
        return "TRUE", ()
    return f"cell.name IN ({', '.join('?' * len(cells))})", tuple(cells)
