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
    """A standard stream that records failures instead of raising them."""

    lost: str | None = None
    """Why output was lost; None if it was not, or if the reader closed the pipe."""

    def write(self, text: str, /) -> int:
        """Write text, or drop it."""
        try:
            return super().write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        """Flush the buffer, or drop it."""
        try:
            super().flush()
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.lost = self.lost or error.strerror or str(error)
        # Python would flush again at exit, and fail with an exit code of its own.
        void = os.open(os.devnull, os.O_WRONLY)
        os.dup2(void, self.fileno())
        os.close(void)


def guard_streams() -> None:
    """Replace the standard streams with guarded ones, which escape unencodable characters."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # It may be captured, or closed.
        if type(stream) is TextIOWrapper:
            encoding, line_buffering = stream.encoding, stream.line_buffering
            # True with PYTHONUNBUFFERED, which images of containers often set.
            write_through = stream.write_through
            guarded = GuardedStream(
                stream.detach(),
                encoding=encoding,
                errors="backslashreplace",
                line_buffering=line_buffering,
                write_through=write_through,
            )
            setattr(sys, name, guarded)


def print_result(text: str) -> None:
    """Print a result that is in a report too, so that losing it changes no exit code."""
    print(text, end="", flush=True)
    has_lost_output()


def has_lost_output() -> bool:
    """Return whether stdout has lost output since the last call, and warn of it."""
    stream = sys.stdout
    if not isinstance(stream, GuardedStream):
        return False
    stream.flush()
    reason, stream.lost = stream.lost, None
    if reason is not None:
        warn(f"repro-gate: the result cannot be printed: {reason}")
    return reason is not None


def warn(text: str) -> None:
    """Print a line on stderr, if it is open: print() would use stdout instead."""
    if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] -- None when closed
        print(text, file=sys.stderr, flush=True)


def print_line(text: str) -> None:
    """Print one line of untrusted text, and flush."""
    print(one_line(text), flush=True)


def ci_variable(environ: Mapping[str, str]) -> str | None:
    """Return the variable that shows that this is a CI job, or None."""
    for name in ("CI", "GITHUB_ACTIONS"):
        if environ.get(name, "").lower() not in {"", "0", "false"}:
            return name
    return None


def refuse_under_ci(environ: Mapping[str, str], *, what: str = "goldens") -> None:
    """Raise `UsageInvalid` in CI, where nobody reviews the changes."""
    name = ci_variable(environ)
    if name is not None:
        raise UsageInvalid(
            f"{what} are not updated in CI ({name} is set): a check against a snapshot that CI "
            f"has written always passes; run this locally and review the change"
        )


def is_confirmed(question: str, *, yes: bool, options: str = "--yes") -> bool:
    """Ask whether to write, and print a line if not.

    Args:
        question: the question.
        yes: skip it.
        options: the options that replace an answer.

    Raises:
        UsageInvalid: stdin is not a terminal.
    """
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageInvalid(
            "nothing was written: stdin is not a terminal, so the changes cannot be confirmed; "
            f"review the list, then pass {options}"
        )
    try:
        is_yes = input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        is_yes = False
    except KeyboardInterrupt:
        # The question has no line break.
        print()
        raise
    if not is_yes:
        print_line("Nothing was written.")
    return is_yes


EXIT_CODES = """\b
Exit codes:
    0  everything requested was checked and agrees
    2  wrong command line
    3  an invalid file, such as the matrix, a report or a policy
    4  inconclusive: something could not be measured or written
   10  findings: drift, runs that differ, missing goldens, refused evidence
  130  interrupted; the results so far are reported
"""

OnFailure: TypeAlias = Callable[[ReproGateError, ExitCode], None]


def ignore(error: ReproGateError, code: ExitCode) -> None:
    """Do nothing about a failure."""


def exit_with(command: Callable[[], ExitCode], *, on_failure: OnFailure = ignore) -> NoReturn:
    """Run a command and exit with its code, or with that of the error that stopped it.

    `on_failure` is called with the error after it has been printed.
    """
    try:
        code = _run(command, on_failure)
    except KeyboardInterrupt:
        code = _interrupted(on_failure)
    signals.ignore_all()
    raise typer.Exit(code)


def unavailable(error: OSError | MemoryError) -> MeasurementUnavailable:
    """Return an error of the operating system as a `MeasurementUnavailable`."""
    name = error.filename if isinstance(error, OSError) else None
    where = "" if name is None else f"{name}: "
    return MeasurementUnavailable(f"{where}{reason_of(error)}", remedy=file_remedy(error))


def reason_of(error: OSError | MemoryError) -> str:
    """Return the message of the operating system."""
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return error.strerror or str(error)


def file_remedy(error: OSError | MemoryError) -> str:
    """Return what to do about a refused file or memory."""
    if isinstance(error, MemoryError):
        return "give the process more memory, or raise its limit (ulimit -v)"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return "free space on the disk, or raise the limit on the size of files"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "give this user permission to read and write there"
        case errno.ENOTDIR | errno.EISDIR | errno.EEXIST:
            return "move away the file or folder that is in the way"
        case _:
            return "check this path and its disk"


def _run(command: Callable[[], ExitCode], on_failure: OnFailure) -> ExitCode:
    try:
        signals.allow_interrupts()
        return command()
    except ReproGateError as error:
        return _stopped(error, on_failure)
    except (OSError, MemoryError) as error:
        return _stopped(unavailable(error), on_failure)
    except Exception as error:
        # An import that a signal interrupts may raise anything.
        if signals.is_interrupted():
            raise KeyboardInterrupt from error
        raise


def _interrupted(on_failure: OnFailure) -> ExitCode:
    warn("repro-gate: interrupted")
    interrupted = MeasurementUnavailable("interrupted", remedy="run the command again")
    _call(on_failure, interrupted, ExitCode.INTERRUPTED)
    return ExitCode.INTERRUPTED


def _stopped(error: ReproGateError, on_failure: OnFailure) -> ExitCode:
    # The message quotes untrusted file contents.
    for line in str(error).splitlines():
        warn(f"repro-gate: {log_line(line)}")
    if isinstance(error, MeasurementUnavailable) and error.remedy:
        warn(f"  try: {log_line(error.remedy)}")
    code = _code_of(error)
    _call(on_failure, error, code)
    return code


def _call(on_failure: OnFailure, error: ReproGateError, code: ExitCode) -> None:
    try:
        on_failure(error, code)
    except Exception as second:  # noqa: BLE001 -- must not change the exit code
        warn(f"repro-gate: no failure report was written: {type(second).__name__}: {second}")


def _code_of(error: ReproGateError) -> ExitCode:
    match error:
        case UsageInvalid():
            return ExitCode.USAGE_INVALID
        case InputInvalid():
            return ExitCode.INPUT_INVALID
        case _:
            return ExitCode.INCONCLUSIVE
