"""An append-only file of lines that a killed process leaves whole, except for its last line."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from repro_gate.adapters.files.parsing import ANSWER_LIMITS, json_line_of
from repro_gate.adapters.files.untrusted_files import require_regular_file
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from repro_gate.strict_json import InvalidJson, table

MAX_LINE_BYTES: Final = ANSWER_LIMITS.max_bytes
_SYNC_EVERY_S: Final = 1.0
"""A crash of the machine loses no more than this; to wait for the disk after each line is slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A complete line, and where it is."""

    number: int
    """Counted from 1."""
    offset: int
    data: bytes

    @property
    def place(self) -> str:
        """The place for a message."""
        return f"line {self.number}"


class AppendLog:
    """A log that one process at a time may write.

    Each line is handed to the operating system before `append` returns: killing the process loses
    no line, and can only tear the last one. `sync` brings it to the disk.
    """

    def __init__(self, file: Path, *, resume: bool, content: str) -> None:
        """Open the existing log, or start an empty one.

        Args:
            file: the log. Without `resume`, a symbolic link in its place is replaced.
            resume: keep the lines of an existing log.
            content: what a line has, such as "a draw", for messages.

        Raises:
            InputInvalid: the log to resume is not a regular file.
            MeasurementUnavailable: another process is writing it.
            OSError: it cannot be opened.
        """
        self._file = file
        self._content = content
        self._descriptor = _open_locked(file, resume=resume)
        self._end = os.fstat(self._descriptor).st_size
        self._synced = time.monotonic()
        self._is_open = True

    def lines(self) -> Iterator[LogLine]:
        """Yield the lines, and then cut off a torn last one.

        Raises:
            InputInvalid: a line is too long.
        """
        end = number = 0
        with os.fdopen(os.dup(self._descriptor), "rb") as stream:
            stream.seek(0)
            while data := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(data) > MAX_LINE_BYTES:
                    error = ValueError(f"a line of more than {MAX_LINE_BYTES} bytes")
                    raise self.invalid(f"byte {end}", error)
                if not data.endswith(b"\n"):
                    break
                yield LogLine(number=number, offset=end, data=data)
                end += len(data)
        self._cut(end)

    def line_at(self, offset: int) -> bytes:
        """Return the line that starts at an offset."""
        with os.fdopen(os.dup(self._descriptor), "rb") as stream:
            stream.seek(offset)
            return stream.readline()

    def append(self, line: bytes) -> int:
        """Append a line, which ends with a line break, and return its offset.

        Raises:
            OSError: it cannot be written; the log is as before.
        """
        offset = self._end
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BaseException as error:
            # The disk is full, or Ctrl-C: no line may follow a torn one.
            self._cut(offset)
            if isinstance(error, OSError):
                error.filename = str(self._file)
            raise
        self._end += len(line)
        return offset

    def sync(self) -> None:
        """Bring the lines to the disk, at most once a second; raises OSError.

        It takes long enough for a Ctrl-C, so the caller has to be done with the line by now.
        """
        if time.monotonic() - self._synced >= _SYNC_EVERY_S:
            self._sync()

    def close(self) -> None:
        """Close the file; safe to call more than once."""
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(OSError):
                self._sync()
            os.close(self._descriptor)

    def invalid(self, place: str, error: Exception) -> InputInvalid:
        """Return the error for a line that is not as it was written."""
        expected, found = f"{self._content} as it was recorded", str(error)
        if isinstance(error, InvalidJson):
            place = ": ".join(filter(None, (place, error.place.removeprefix("."))))
            expected, found = error.expected, error.found
        found = f"{found}; to start again, leave out --resume"
        return InputInvalid.at(self._file, place, expected=expected, found=found)

    def _cut(self, end: int) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, end)
        self._end = end

    def _sync(self) -> None:
        os.fsync(self._descriptor)
        self._synced = time.monotonic()


def json_line(data: Mapping[str, Any]) -> bytes:
    """Return JSON data as a line of ASCII."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def json_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object on a line; raises ValueError."""
    return table(json_line_of(line, ANSWER_LIMITS))


def _open_locked(file: Path, *, resume: bool) -> int:
    """Return the descriptor of the log, which no other process has open as a log."""
    if not resume:
        if file.is_file() and not file.is_symlink():
            # Another process may be writing it.
            with contextlib.suppress(OSError):
                os.close(_locked(file, os.O_RDWR))
        file.unlink(missing_ok=True)
    elif os.path.lexists(file):
        require_regular_file(file)
    return _locked(file, os.O_RDWR | os.O_CREAT | (0 if resume else os.O_EXCL))


def _locked(file: Path, flags: int) -> int:
    # A link may have been put there since the check.
    flags |= os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(file, flags, 0o644)
    try:
        # A file system without locks has other errors.
        with contextlib.suppress(OSError):
            _lock(descriptor, file)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, file: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise MeasurementUnavailable(
            f"another command is writing {file}", remedy="wait until it ends, or stop it"
        ) from error
