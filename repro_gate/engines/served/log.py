"""What a server prints: kept in a file of bounded size, without secrets, and its last lines."""

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import IO, Final

from repro_gate.protocol import Refusal, RequestRefused

MAX_BYTES: Final = 4 << 20
_KEPT_BYTES: Final = 1 << 20
"""Of a file that became too large."""
_MAX_LINE: Final = 8192
_LINES: Final = 20
"""Quoted when a server fails."""
_MAX_QUOTED: Final = 600
"""Characters; reports are short."""
_CUT: Final = b"(earlier lines were cut)\n"
_MASK: Final = b"***"
_IGNORED_FOLDER: Final = ".repro-gate"
_END_S: Final = 1.0
_SECRET_NAME: Final = re.compile(
    r"KEY|TOKEN|SECRET|PASS(?:WORD|WD|PHRASE)|CREDENTIAL", re.IGNORECASE
)
_MIN_SECRET: Final = 6
"""Characters; a shorter value would be masked within ordinary words."""
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class ServerLog:
    """The output of one server after another, each appended to the same file."""

    def __init__(self, file: Path | None, *, secrets: Iterable[str] = ()) -> None:
        """Open the file, which another engine may be writing to as well.

        Args:
            file: None to keep nothing but the last lines.
            secrets: texts that must appear nowhere.

        Raises:
            RequestRefused: it cannot be written.
        """
        self._file = file
        # A longer one may contain a shorter one.
        longest_first = sorted({each.encode() for each in secrets if each}, key=len, reverse=True)
        self._secrets = re.compile(b"|".join(map(re.escape, longest_first)) or b"(?!)")
        self._lines: deque[bytes] = deque(maxlen=_LINES)
        self._writing = Lock()
        self._reader: Thread | None = None
        try:
            self._descriptor = None if file is None else _opened(file)
        except OSError as error:
            raise RequestRefused(
                Refusal.INTERNAL, f"the log {file} of the server cannot be written: {error}"
            ) from error

    def note(self, line: str) -> None:
        """Add a line of repro-gate itself."""
        self._write(f"# repro-gate: {line}\n".encode())

    def follow(self, output: IO[bytes]) -> None:
        """Keep what a server prints from now on, until its output ends."""
        self._lines.clear()
        self._reader = Thread(target=self._read, args=(output,), daemon=True)
        self._reader.start()

    def end(self) -> str:
        """Return the last lines of a server that has ended, with the name of the file."""
        if self._reader is not None:
            # A process that outlives its server may hold the output open.
            self._reader.join(_END_S)
        text = _quoted([_shown(line) for line in list(self._lines)])
        where = "its output" if self._file is None else f"its log, {self._file.name},"
        return f"{where} ends with: {text}" if text else f"{where} is empty"

    def close(self) -> None:
        """Close the file."""
        with self._writing:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _read(self, output: IO[bytes]) -> None:
        # ValueError: it was closed meanwhile.
        with suppress(OSError, ValueError), output:
            while line := output.readline(_MAX_LINE):
                masked = self._secrets.sub(_MASK, line)
                self._lines.append(masked)
                self._write(masked)

    def _write(self, line: bytes) -> None:
        with self._writing, suppress(OSError):
            if self._descriptor is not None:
                os.write(self._descriptor, line)
                if os.fstat(self._descriptor).st_size > MAX_BYTES:
                    _cut(self._descriptor)


def secrets_in(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of variables that are named like secrets."""
    for name, value in environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _MIN_SECRET:
            yield value


def _opened(file: Path) -> int:
    folder = file.parent
    if not folder.exists() and folder.name == _IGNORED_FOLDER:
        folder.mkdir(parents=True)
        (folder / ".gitignore").write_text("*\n", "utf-8")
    # Not through a link, which a repository may contain.
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)


def _cut(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    kept = os.pread(descriptor, _KEPT_BYTES, max(0, size - _KEPT_BYTES))
    os.ftruncate(descriptor, 0)
    os.write(descriptor, _CUT + kept.partition(b"\n")[2])


def _quoted(lines: Sequence[str]) -> str:
    """Return as many of the last lines as fit, at least a part of the last one."""
    text = " / ".join(filter(None, lines))
    if len(text) <= _MAX_QUOTED:
        return text
    end = text[-_MAX_QUOTED:]
    return end.partition(" / ")[2] or end


def _shown(line: bytes) -> str:
    text = _COLOUR.sub("", line.decode("utf-8", errors="replace"))
    return "".join(each if each.isprintable() else " " for each in text).strip()
