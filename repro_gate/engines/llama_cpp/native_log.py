"""The log of llama.cpp: the last lines are kept, warnings and errors also go to stderr.

Contexts that decode side by side log from several threads, each its own lines.
"""

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from threading import RLock, get_ident

_MAX_LINES = 16384
"""Loading a model of a hundred layers logs a few thousand."""
_MAX_LINE_LENGTH = 4096


class Level(IntEnum):
    """The levels of `enum ggml_log_level`; their order in the bindings is wrong."""

    NONE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4
    CONTINUED = 5
    """Continues the line before it."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, without its newline."""

    level: Level
    text: str


_NOTHING = LogLine(Level.NONE, "")


class NativeLog:
    """The last lines of the log, in order."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=_MAX_LINES)
        self._total = 0
        self._unfinished: dict[int, LogLine] = {}
        """The last line of each thread, with an empty text once it is finished."""
        self._lock = RLock()

    def receive(self, level: int, chunk: bytes) -> None:
        """Receive a chunk from llama.cpp: a line, a part of one, or several."""
        text = chunk.decode("utf-8", errors="replace")
        thread = get_ident()
        with self._lock:
            begun = self._unfinished.get(thread, _NOTHING)
            if level == Level.CONTINUED:
                kind, text = begun.level, begun.text + text
            else:
                kind = Level(level) if level in list(Level) else Level.NONE
                self._finish_line(thread)
            *lines, rest = text.split("\n")
            for line in lines:
                self._keep(LogLine(kind, line))
            self._unfinished[thread] = LogLine(kind, rest)
            if len(rest) > _MAX_LINE_LENGTH:
                self._finish_line(thread)

    def mark(self) -> int:
        """Return the current position in the log."""
        with self._lock:
            self._finish_lines()
            return self._total

    def since(self, mark: int) -> Sequence[LogLine]:
        """Return the lines after the mark that are still kept."""
        with self._lock:
            self._finish_lines()
            missed = self._total - len(self._lines)
            return list(islice(self._lines, max(0, mark - missed), None))

    def errors_since(self, mark: int) -> Sequence[str]:
        """Return the errors after the mark that are still kept."""
        return [line.text for line in self.since(mark) if line.level is Level.ERROR]

    def _finish_lines(self) -> None:
        for thread in self._unfinished:
            self._finish_line(thread)

    def _finish_line(self, thread: int) -> None:
        line = self._unfinished.get(thread, _NOTHING)
        if line.text:
            self._keep(line)
            self._unfinished[thread] = LogLine(line.level, "")

    def _keep(self, line: LogLine) -> None:
        # A model file can have a name of megabytes, in which a search would take hours.
        line = LogLine(line.level, line.text[:_MAX_LINE_LENGTH])
        self._lines.append(line)
        self._total += 1
        if line.level in {Level.WARN, Level.ERROR}:
            print(line.text, file=sys.stderr, flush=True)  # noqa: T201 -- the gate quotes it
