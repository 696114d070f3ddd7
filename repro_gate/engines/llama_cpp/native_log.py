"""The log of llama.cpp: the last lines are kept, warnings and errors also go to stderr."""

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice

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


class NativeLog:
    """The last lines of the log, in order."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=_MAX_LINES)
        self._total = 0
        self._level = Level.NONE
        self._text = ""

    def receive(self, level: int, chunk: bytes) -> None:
        """Receive a chunk from llama.cpp: a line, a part of one, or several."""
        if level != Level.CONTINUED:
            self._finish_line()
            self._level = Level(level) if level in list(Level) else Level.NONE
        self._text += chunk.decode("utf-8", errors="replace")
        while "\n" in self._text:
            line, _, self._text = self._text.partition("\n")
            self._keep(line)
        if len(self._text) > _MAX_LINE_LENGTH:
            self._finish_line()

    def mark(self) -> int:
        """Return the current position in the log."""
        self._finish_line()
        return self._total

    def since(self, mark: int) -> Sequence[LogLine]:
        """Return the lines after the mark that are still kept."""
        self._finish_line()
        missed = self._total - len(self._lines)
        return list(islice(self._lines, max(0, mark - missed), None))

    def errors_since(self, mark: int) -> Sequence[str]:
        """Return the errors after the mark that are still kept."""
        return [line.text for line in self.since(mark) if line.level is Level.ERROR]

    def _finish_line(self) -> None:
        if self._text:
            line, self._text = self._text, ""
            self._keep(line)

    def _keep(self, line: str) -> None:
        self._lines.append(LogLine(self._level, line))
        self._total += 1
        if self._level in {Level.WARN, Level.ERROR}:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 -- the gate quotes it
