"""What a command leaves behind for those who tell of it: a report, or why there is none."""

from dataclasses import dataclass
from typing import TypeAlias

from repro_gate.core.report import GateReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The check came to an end, or was interrupted, and has a report."""

    report: GateReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """The check could not be made: an invalid file, a wrong command line, nothing to measure."""

    exit_code: int
    message: str
    """In foreign words, one or more lines; it names the file and the place."""
    remedy: str | None = None


Evidence: TypeAlias = Finished | Unfinished
"""Where there is neither, the process was killed."""
