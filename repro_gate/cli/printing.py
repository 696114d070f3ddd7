"""Printing: for whoever still reads, and never with an exception.

A reader that has left (`check | head`) is nobody's failure. Where stdout cannot be written, such as
on a full disk, stderr gets a line; what it means for the exit code is decided at the end.
"""

import os
import sys
from io import TextIOWrapper

from repro_gate.reports.foreign import one_line


class GuardedStream(TextIOWrapper):
    """A standard stream whose failures are kept instead of raised."""

    lost: str | None = None
    """Why something could not be written; None when all was, or its reader has left."""

    def write(self, text: str, /) -> int:
        """Write text, or drop it."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Write what is kept back, or drop it."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.lost = self.lost or error.strerror or str(error)
        # Python would try once more when it ends, and exit with a code of its own.
        void = os.open(os.devnull, os.O_WRONLY)
        os.dup2(void, self.fileno())
        os.close(void)


def guard_streams() -> None:
    """Put guarded streams in place of the standard ones; what they cannot show is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Whoever captures our output has put something else there, or nothing.
        if type(stream) is TextIOWrapper:
            encoding, line_buffering = stream.encoding, stream.line_buffering
            guarded = GuardedStream(
                stream.detach(),
                encoding=encoding,
                errors="backslashreplace",
                line_buffering=line_buffering,
            )
            setattr(sys, name, guarded)


def say(text: str) -> None:
    """Print a result that stands elsewhere too, so that losing it changes no exit code."""
    print(text, end="", flush=True)
    take_loss()


def take_loss() -> bool:
    """Tell whether stdout has lost anything that was not told of yet, and tell of it."""
    stream = sys.stdout
    if not isinstance(stream, GuardedStream):
        return False
    stream.flush()
    reason, stream.lost = stream.lost, None
    if reason is not None:
        warn(f"repro-gate: the result cannot be printed: {reason}")
    return reason is not None


def warn(text: str) -> None:
    """Print a line on stderr, where there is one: print() would take stdout instead."""
    if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] -- None when closed
        print(text, file=sys.stderr, flush=True)


def print_line(text: str) -> None:
    """Print one line of untrusted text at once: someone may be waiting for it."""
    print(one_line(text), flush=True)
