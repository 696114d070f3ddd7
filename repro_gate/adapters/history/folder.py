"""A history: a folder of session files, and their index."""

import errno
import fcntl
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from heapq import merge
from pathlib import Path
from typing import Final, TypeVar

from repro_gate.adapters.files.atomic import require_no_links
from repro_gate.adapters.history.files import (
    OPEN,
    SEALED,
    SessionFile,
    file_of,
    open_headers,
    opened,
    place_of,
    places,
)
from repro_gate.adapters.history.index import FILE, BrokenIndex, Index, remove_index
from repro_gate.core.history import CellSession, KeptDraw, Session, SessionHeader, Tally
from repro_gate.errors import InputInvalid
from repro_gate.ports import Purpose

T = TypeVar("T")

_LOCK: Final = "index.lock"
_BATCH: Final = 100
"""Sessions added in one transaction, each of which waits for the disk."""


class HistoryFolder:
    """The sessions of a history: closed ones from the index, others from their files."""

    def __init__(self, folder: Path, *, keeps_index: bool = True) -> None:
        """Remember the folder, which may be missing; the index follows its files at first use.

        Args:
            folder: the folder of the history.
            keeps_index: whether to use the index in the folder; otherwise every file is read again.
        """
        self.folder = folder
        self._keeps_index = keeps_index
        self._index: Index | None = None

    def close(self) -> None:
        """Close the index; safe to call more than once."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def sessions(self, suite: str | None = None) -> tuple[Session, ...]:
        """Return the sessions of a suite and those of no suite, oldest first; None for all."""
        closed = self._read(lambda index: index.sessions(suite))
        return tuple(merge(closed, (session for session, _ in self._open(suite)), key=_order_of))

    def points(
        self, suite: str | None = None, *, cells: Collection[str] | None = None
    ) -> Iterator[tuple[Session, CellSession]]:
        """Yield what is kept of each cell in these sessions, oldest first."""
        closed = self._read(lambda index: index.points(suite, cells))
        unclosed = (
            (session, point)
            for session, points in self._open(suite)
            for point in points
            if cells is None or point.cell.id in cells
        )
        return merge(closed, unclosed, key=lambda pair: _order_of(pair[0]))

    def draws(
        self, session: Session, *, cells: Collection[str] | None = None
    ) -> Iterator[KeptDraw]:
        """Yield the draws of a session in the order in which they came."""
        place = place_of(session)
        if session.is_closed:
            yield from self._read(lambda index: index.draws(place, cells))
            return
        with opened(file_of(self.folder, place, OPEN)) as file:
            for draw in _draws_in(file):
                if cells is None or draw.cell.id in cells:
                    yield draw

    def refresh(self) -> None:
        """Add new session files to the index, which is rebuilt if it is damaged or has others.

        Raises:
            InputInvalid: a session file is broken, the index is of a newer version, or the folder
                is a file.
            MeasurementUnavailable: this Python has an old SQLite, or another process is writing.
            OSError: the index cannot be written.
        """
        self.close()
        if not self.folder.is_dir():
            if self.folder.exists():
                raise InputInvalid(f"{self.folder}: expected a folder of sessions, found a file")
            self._index = Index(None)
            return
        with _locked(self.folder) as is_writable:
            file = self.folder / FILE if is_writable and self._keeps_index else None
            try:
                self._index = self._filled(file)
            except BrokenIndex:
                if file is None:
                    raise
                remove_index(file)
                self._index = self._filled(file)

    def _filled(self, file: Path | None) -> Index:
        index = Index(file)
        try:
            sealed = places(self.folder, SEALED)
            known = index.places()
            if file is not None and not known <= set(sealed):
                index.close()
                remove_index(file)
                index, known = Index(file), frozenset[str]()
            new = [place for place in sealed if place not in known]
            for start in range(0, len(new), _BATCH):
                with index.writing():
                    for place in new[start : start + _BATCH]:
                        self._add(index, place)
        except BaseException:
            index.close()
            raise
        return index

    def _add(self, index: Index, place: str) -> None:
        with opened(file_of(self.folder, place, SEALED)) as session:
            expected = place_of(session.header)
            if expected != place:
                raise InputInvalid.at(session.file, "line 1", expected=place, found=expected)
            try:
                index.add(place, session)
            except (ValueError, OverflowError) as error:
                expected = "numbers that an index can hold"
                raise InputInvalid.at(
                    session.file, "", expected=expected, found=str(error)
                ) from error

    def _read(self, read: Callable[[Index], Iterable[T]]) -> Iterator[T]:
        """Yield what the index has; a damaged index is rebuilt unless something was yielded."""
        is_new = True
        try:
            for each in read(self._current()):
                is_new = False
                yield each
        except BrokenIndex:
            if not is_new:
                raise
            self.close()
            remove_index(self.folder / FILE)
            yield from read(self._current())

    def _current(self) -> Index:
        if self._index is None:
            self.refresh()
        if self._index is None:
            raise RuntimeError("a refreshed history has an index")
        return self._index

    def _open(self, suite: str | None) -> list[tuple[Session, list[CellSession]]]:
        """Return the sessions that are not closed, oldest first, with their points."""
        found: list[tuple[Session, list[CellSession]]] = []
        for place, header in open_headers(self.folder):
            if suite is None or header.suite in {None, suite}:
                with opened(file_of(self.folder, place, OPEN)) as file:
                    found.append((_open_session(header), _points_in(file)))
        return sorted(found, key=lambda pair: _order_of(pair[0]))


def _order_of(session: Session) -> tuple[str, str]:
    return session.started_at, place_of(session)


def _open_session(header: SessionHeader) -> Session:
    return Session(
        key=header.key,
        kind=header.kind,
        suite=header.suite,
        epoch=header.epoch,
        started_at=header.started_at,
        tool=header.tool,
        is_closed=False,
    )


def _points_in(file: SessionFile) -> list[CellSession]:
    tallies = {cell.id: Tally(cell) for cell in file.header.cells}
    for draw in _draws_in(file):
        tally = tallies[draw.cell.id]
        if draw.purpose == Purpose.CONTROL:
            tally.take_control(draw.outcome)
        else:
            tally.take(draw.outcome)
    return [tallies[cell].summary() for cell in sorted(tallies)]


def _draws_in(file: SessionFile) -> Iterator[KeptDraw]:
    cells = {cell.id: cell for cell in file.header.cells}
    for _, line in file.draws():
        yield KeptDraw(
            cell=cells[line.cell],
            purpose=line.purpose,
            number=line.number,
            line=line.line,
            outcome=line.outcome,
        )


@contextmanager
def _locked(folder: Path) -> Generator[bool]:
    """Wait until no other process is writing the index, and yield whether it can be written."""
    require_no_links(folder)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / _LOCK, flags, 0o644)
    except OSError as error:
        if error.errno not in {errno.EROFS, errno.EACCES}:
            raise
        yield False
        return
    try:
        # A file system without locks has other errors.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield True
    finally:
        os.close(descriptor)
