"""Printing a result for whoever still reads."""

import os
import sys

from repro_gate.reports.foreign import one_line


def say(text: str) -> bool:
    """Print a result whole and tell whether that went well; nobody has to read all of it."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        _silence_stdout()
    except OSError as error:
        _silence_stdout()
        print(f"repro-gate: the result cannot be printed: {error.strerror}", file=sys.stderr)
        return False
    return True


def print_line(text: str) -> None:
    """Print one line of untrusted text at once: someone may be waiting for it."""
    print(one_line(text), flush=True)


def _silence_stdout() -> None:
    # Python would try once more when it ends, and exit with a code of its own.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
