"""The session files of a history: append-only while a session runs, and sealed once it has ended.

A sealed file is never changed or replaced.
"""

import gzip
import hashlib
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

from repro_gate.adapters.files.atomic import created, make_folder, require_no_links, sweep
from repro_gate.adapters.files.untrusted_files import open_regular_file
from repro_gate.adapters.history.lines import (
    Closed,
    DrawLine,
    closed_line,
    header_from,
    header_line,
    read_line,
)
from repro_gate.adapters.logs.append_only import MAX_LINE_BYTES, AppendLog
from repro_gate.adapters.logs.draws import DrawLines
from repro_gate.core.history import Session, SessionHeader, SessionKind
from repro_gate.core.logprobs.draw import Draw
from repro_gate.errors import InputInvalid
from repro_gate.ports import Purpose
from repro_gate.strict_json import InvalidJson, choice

SEALED: Final = ".jsonl.gz"
OPEN: Final = ".jsonl"
_FOLDERS: Final = {SessionKind.CHECK: "checks", SessionKind.CALIBRATION: "calibrations"}
_PATTERNS: Final = ("nights/*/*/*", *(f"{folder}/*" for folder in _FOLDERS.values()))
_PURPOSES: Final = {
    SessionKind.NIGHT: (Purpose.WATCH,),
    SessionKind.CHECK: (Purpose.FIRST_LOOK, Purpose.SECOND_LOOK, Purpose.CONTROL),
    SessionKind.CALIBRATION: (Purpose.CALIBRATION, Purpose.CONTROL),
}
"""Whose draws each kind of session has; a look of a check stops early, so it is no night."""
_EPOCH_DIGITS: Final = 16
MAX_BYTES: Final = 4 << 30
"""Of a session without compression: about three million draws."""
_WHOLE: Final = "a whole session, as repro-gate has written it"


def place_of(header: SessionHeader | Session) -> str:
    """Return where a session is in a history, without the ending of its file."""
    if header.epoch is None:
        return f"{_FOLDERS[header.kind]}/{header.key}"
    return f"nights/{header.suite}/{header.epoch[:_EPOCH_DIGITS]}/{header.key}"


def file_of(history: Path, place: str, ending: str) -> Path:
    """Return the file of a session."""
    return history / f"{place}{ending}"


def places(history: Path, ending: str) -> list[str]:
    """Return the place of every session whose file has an ending, sorted."""
    found = (file for pattern in _PATTERNS for file in history.glob(f"{pattern}{ending}"))
    return sorted(str(file.relative_to(history)).removesuffix(ending) for file in found)


class NoSession(InputInvalid):
    """A file ends within its first line: the process was killed before the session began."""


class SessionFile:
    """A session as it is read: the header at once, the draws as they come, the end after them."""

    def __init__(self, file: Path, stream: BinaryIO) -> None:
        self.file = file
        self.closed: Closed | None = None
        """The end, once the draws were read; None for a session that was killed."""
        self._drawn = set[tuple[str, int]]()
        """The valid draws of a night, by cell and number."""
        self._sha256 = hashlib.sha256()
        self._lines = whole_lines(stream, file)
        first = next(self._lines, None)
        if first is None:
            raise NoSession.at(file, "line 1", expected="a session", found="no whole line")
        self.head = first
        """The line of the header."""
        self._sha256.update(first)
        try:
            self.header = header_from(first)
        except (ValueError, OverflowError) as error:
            raise invalid_line(file, 1, error) from error

    def draws(self) -> Iterator[tuple[bytes, DrawLine]]:
        """Yield each draw with its line; raises `InputInvalid`."""
        cells = {cell.id for cell in self.header.cells}
        count = 0
        for number, data in enumerate(self._lines, start=2):
            try:
                if self.closed is not None:
                    raise InvalidJson("", expected="the end of the file", found="another line")
                line = read_line(data, number, cells.__contains__)
                if isinstance(line, Closed):
                    self._require_end(line, count)
                    self.closed = line
                    continue
                choice(line.purpose, "purpose", _PURPOSES[self.header.kind])
                self._require_once(line)
            except (ValueError, OverflowError) as error:
                raise invalid_line(self.file, number, error) from error
            count += 1
            self._sha256.update(data)
            yield data, line
        if self.closed is None and self.file.name.endswith(SEALED):
            raise InputInvalid.at(self.file, "", expected=_WHOLE, found="one without its last line")

    def _require_once(self, line: DrawLine) -> None:
        """Require that a valid draw of a night is not counted twice among its fixed number."""
        if self.header.kind is not SessionKind.NIGHT or not isinstance(line.outcome, Draw):
            return
        draw = line.cell, line.number
        if draw in self._drawn:
            found = f"draw {line.number} of {line.cell} again"
            raise InvalidJson("number", expected="each draw once", found=found)
        self._drawn.add(draw)

    def _require_end(self, closed: Closed, draws: int) -> None:
        if closed.draws != draws:
            raise InvalidJson("draws", expected=str(draws), found=str(closed.draws))
        if closed.sha256 != self._sha256.hexdigest():
            raise InvalidJson("sha256", expected="that of the lines before", found="another one")


@contextmanager
def opened(file: Path) -> Generator[SessionFile]:
    """Yield a session file, which may be an untrusted download; raises `InputInvalid`."""
    with open_regular_file(file, may_be_link=False) as raw:
        if not file.name.endswith(SEALED):
            yield SessionFile(file, cast("BinaryIO", raw))
            return
        with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
            yield SessionFile(file, cast("BinaryIO", stream))


class SessionLog(DrawLines):
    """The draws of a session that runs, see `DrawLines`."""

    def __init__(self, history: Path, header: SessionHeader, *, resume: bool) -> None:
        """Start a session, or resume one that was killed.

        Args:
            history: the folder of the history.
            header: of the session; one to resume may have another start and version.
            resume: keep the draws of a session with this key.

        Raises:
            InputInvalid: the session is closed, or exists and is not to be resumed, or is of
                other cells.
            MeasurementUnavailable: another process is writing it.
            OSError: the file cannot be written.
        """
        self._running = file_of(history, place_of(header), OPEN)
        self._sealed = file_of(history, place_of(header), SEALED)
        make_folders(history, self._sealed)
        _require_new(self._sealed)
        if not resume:
            _require_new(self._running)
        line = header_line(header)
        if len(line) > MAX_LINE_BYTES:
            expected, found = f"at most {MAX_LINE_BYTES} bytes", str(len(line))
            raise InputInvalid.at(self._running, "line 1", expected=expected, found=found)

        def require(first: bytes) -> None:
            if not resume:
                _require_new(self._running)
            if header_from(first).cells != header.cells:
                raise InvalidJson("cells", expected="the cells to draw", found="other cells")

        super().__init__(self._running, header=line, require=require, resume=True)

    def seal(self, closed_at: str) -> Path:
        """End the session, and return its file.

        Raises:
            InputInvalid: there is another closed session of this key by now.
            OSError: it cannot be written; the session can be resumed.
        """
        self.close()
        seal_open(self._running, self._sealed, closed_at)
        return self._sealed


def seal_open(running: Path, sealed: Path, closed_at: str) -> None:
    """Close a session that was open, and remove its open file; raises as `write_sealed`."""
    with opened(running) as session:
        write_sealed(sealed, session.head, (line for line, _ in session.draws()), closed_at)
    running.unlink()


def write_sealed(sealed: Path, head: bytes, draws: Iterable[bytes], closed_at: str) -> bool:
    """Write a closed session unless it exists, and return whether it is new.

    Raises:
        InputInvalid: there is a closed session of this key, with other content.
        OSError: it cannot be written; no file is left.
    """
    digest, count = hashlib.sha256(head), 0
    try:
        with created(sealed) as raw, _compressed(raw) as stream:
            stream.write(head)
            for line in draws:
                stream.write(line)
                digest.update(line)
                count += 1
            closed = Closed(closed=closed_at, draws=count, sha256=digest.hexdigest())
            stream.write(closed_line(closed))
    except FileExistsError as error:
        if closed_of(sealed).sha256 != digest.hexdigest():
            expected, found = "the same session", "another one with its key; nothing was changed"
            raise InputInvalid.at(sealed, "", expected=expected, found=found) from error
        return False
    return True


def closed_of(sealed: Path) -> Closed:
    """Return the end of a closed session, after reading all of it; raises `InputInvalid`."""
    with opened(sealed) as session:
        for _ in session.draws():
            pass
    if session.closed is None:
        raise InputInvalid.at(sealed, "", expected=_WHOLE, found="one without its last line")
    return session.closed


def write_open(running: Path, head: bytes, draws: Iterable[bytes]) -> bool:
    """Write a session that is not closed, and return whether it, or a draw of it, is new.

    Raises:
        InputInvalid: there is one of this key with other draws.
        MeasurementUnavailable: another process is writing it.
        OSError: it cannot be written.
    """
    with closing(AppendLog(running, resume=True, content="a draw")) as log:
        known, is_new = [line.data for line in log.lines()], False
        for number, line in enumerate((head, *draws)):
            if number >= len(known):
                log.append(line)
                is_new = True
            elif known[number] != line:
                expected, found = "the same session", "another one with its key"
                place = f"line {number + 1}"
                raise InputInvalid.at(running, place, expected=expected, found=found)
    return is_new


def open_headers(history: Path) -> Iterator[tuple[str, SessionHeader]]:
    """Yield place and header of each session that is not closed; raises `InputInvalid`."""
    sealed = set(places(history, SEALED))
    for place in places(history, OPEN):
        with suppress(NoSession), opened(file_of(history, place, OPEN)) as session:
            if place not in sealed:
                yield place, session.header


def make_folders(history: Path, file: Path) -> None:
    """Make the folders of a session file, and remove what killed processes left in the last.

    Raises:
        InputInvalid: one of them is a symbolic link.
        OSError: one cannot be made.
    """
    inner = reversed(file.relative_to(history).parents)
    folders = [history / folder for folder in inner]
    require_no_links(*folders)
    make_folder(file.parent)
    sweep(file.parent, trees=())


def _compressed(raw: BinaryIO) -> gzip.GzipFile:
    # Without a name and a time, equal sessions are equal files.
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6)


def _require_new(file: Path) -> None:
    if file.exists():
        expected = "no session of this key"
        found = "a closed one" if file.name.endswith(SEALED) else "one that can be resumed"
        raise InputInvalid.at(file, "", expected=expected, found=found)


def whole_lines(stream: BinaryIO, file: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file of limited size; raises `InputInvalid`."""
    left = MAX_BYTES
    try:
        while data := stream.readline(min(left, MAX_LINE_BYTES) + 1):
            left -= len(data)
            if left < 0 or len(data) > MAX_LINE_BYTES:
                limit = f"lines of at most {MAX_LINE_BYTES} bytes, and {MAX_BYTES} bytes in all"
                raise InputInvalid.at(file, "", expected=limit, found="more of them")
            if not data.endswith(b"\n"):
                return
            yield data
    except (EOFError, OSError, zlib.error) as error:
        # The two are no OSError of the system, and have no number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputInvalid.at(file, "", expected="a whole gzip file", found=str(error)) from error


def invalid_line(file: Path, number: int, error: Exception) -> InputInvalid:
    """Return the error for a line that is not as it was written."""
    place, expected, found = f"line {number}", "a line of a session", str(error)
    if isinstance(error, InvalidJson):
        place = ": ".join(filter(None, (place, error.place.removeprefix("."))))
        expected, found = error.expected, error.found
    return InputInvalid.at(file, place, expected=expected, found=found)
