"""Output and the end of a command: printing, questions, error messages and exit codes.

A reader that closes the pipe (`check | head`) is not an error. Where stdout cannot be written, such
as on a full disk, stderr gets a line, and the exit code shows it at the end.
"""

import errno
import os
import sys
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from typing import NoReturn, TypeAlias

import typer

from repro_gate.cli import signals
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import (
    InputInvalid,
    MeasurementUnavailable,
    ReproGateError,
    UsageInvalid,
)
from repro_gate.reports.text.escape import log_line, one_line


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


def print_result(text: str) -> None:
    """Print a result that stands elsewhere too, so that losing it changes no exit code."""
    print(text, end="", flush=True)
    has_lost_output()


def has_lost_output() -> bool:
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


def ci_variable(environ: Mapping[str, str]) -> str | None:
    """Return the variable that shows that this is a CI job, or None."""
    for name in ("CI", "GITHUB_ACTIONS"):
        if environ.get(name, "").lower() not in {"", "0", "false"}:
            return name
    return None


def refuse_under_ci(environ: Mapping[str, str], *, what: str = "goldens") -> None:
    """Raise `UsageInvalid` in CI, where nobody would look at what changes."""
    name = ci_variable(environ)
    if name is not None:
        raise UsageInvalid(
            f"{what} are not updated under CI ({name} is set): a snapshot that CI writes "
            f"itself always passes; run this where a person looks at the change"
        )


def is_confirmed(question: str, *, yes: bool, options: str = "--yes") -> bool:
    """Ask whether to write; say so when nothing is written.

    Args:
        question: what a person is asked.
        yes: answers in advance.
        options: what to pass instead of an answer, after a look at the list.

    Raises:
        UsageInvalid: stdin is no terminal.
    """
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageInvalid(
            "nothing was written: this is no terminal, so nobody can be asked; "
            f"look at the list, then pass {options}"
        )
    try:
        is_yes = input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        is_yes = False
    if not is_yes:
        print_line("Nothing was written.")
    return is_yes


EXIT_CODES = """\b
Exit codes:
    0  everything requested was checked and agrees
    2  wrong command line
    3  an invalid file: the matrix, a golden or a report
    4  inconclusive: something could not be measured or written
   10  findings: drift, runs that differ, missing or orphaned goldens
  130  interrupted; the results so far are reported
"""

Failed: TypeAlias = Callable[[ReproGateError, ExitCode], None]


def nobody(error: ReproGateError, code: ExitCode) -> None:
    """Nobody else wants to know of a failure."""


def exit_with(command: Callable[[], ExitCode], *, failed: Failed = nobody) -> NoReturn:
    """Run a command and exit with its code, or with the code of what stopped it.

    `failed` is told of what stopped the command, after the user was.
    """
    try:
        code = _ended(command, failed)
    except KeyboardInterrupt:
        code = _interrupted(failed)
    signals.ignore_all()
    raise typer.Exit(code)


def unavailable(error: OSError | MemoryError) -> MeasurementUnavailable:
    """Return what the world would not do, such as a full disk, as an error of ours."""
    name = error.filename if isinstance(error, OSError) else None
    where = "" if name is None else f"{name}: "
    return MeasurementUnavailable(f"{where}{reason_of(error)}", remedy=file_remedy(error))


def reason_of(error: OSError | MemoryError) -> str:
    """Return why the world would not do something, in the words of the system."""
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return error.strerror or str(error)


def file_remedy(error: OSError | MemoryError) -> str:
    """Return what may help where the operating system refuses a file, or memory."""
    if isinstance(error, MemoryError):
        return "give the process more memory, or raise its limit (ulimit -v)"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return "free space on the disk, or raise the limit on the size of files"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "give this user the right to read and write there"
        case errno.ENOTDIR | errno.EISDIR | errno.EEXIST:
            return "move away what is there: it is a file in place of a folder, or the reverse"
        case _:
            return "no remedy is known: the message is the operating system's own"


def _ended(command: Callable[[], ExitCode], failed: Failed) -> ExitCode:
    try:
        signals.allow_interrupts()
        return command()
    except ReproGateError as error:
        return _stopped(error, failed)
    except (OSError, MemoryError) as error:
        return _stopped(unavailable(error), failed)
    except Exception as error:
        # An import that a signal tears apart may raise anything.
        if signals.is_interrupted():
            raise KeyboardInterrupt from error
        raise


def _interrupted(failed: Failed) -> ExitCode:
    warn("repro-gate: interrupted")
    interrupted = MeasurementUnavailable("interrupted", remedy="run the command again")
    _tell(failed, interrupted, ExitCode.INTERRUPTED)
    return ExitCode.INTERRUPTED


def _stopped(error: ReproGateError, failed: Failed) -> ExitCode:
    # A message names files, and says what stands in them.
    for line in str(error).splitlines():
        warn(f"repro-gate: {log_line(line)}")
    if isinstance(error, MeasurementUnavailable) and error.remedy:
        warn(f"  try: {log_line(error.remedy)}")
    code = _code_of(error)
    _tell(failed, error, code)
    return code


def _tell(failed: Failed, error: ReproGateError, code: ExitCode) -> None:
    try:
        failed(error, code)
    except Exception as second:  # noqa: BLE001 -- the code is known, and must not change any more
        warn(f"repro-gate: no report could be left: {type(second).__name__}: {second}")


def _code_of(error: ReproGateError) -> ExitCode:
    match error:
        case UsageInvalid():
            return ExitCode.USAGE_INVALID
        case InputInvalid():
            return ExitCode.INPUT_INVALID
        case _:
            return ExitCode.INCONCLUSIVE
