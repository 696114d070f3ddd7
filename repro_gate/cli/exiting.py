"""How a command ends: one place turns what stopped it into an exit code and a message."""

import errno
from collections.abc import Callable
from typing import NoReturn, TypeAlias

import typer

from repro_gate.cli import signals
from repro_gate.cli.printing import warn
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import (
    InputInvalid,
    MeasurementUnavailable,
    ReproGateError,
    UsageInvalid,
)

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
    signals.settle()
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
        signals.begin()
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
    # Only a command that fails needs it.
    from repro_gate.reports.foreign import log_line  # noqa: PLC0415

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
