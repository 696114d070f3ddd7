"""How a command ends: one place turns what stopped it into an exit code and a message."""

import errno
from collections.abc import Callable
from typing import NoReturn, TypeAlias

import typer

from repro_gate.core.outcome import ExitCode
from repro_gate.errors import (
    InputInvalid,
    MeasurementUnavailable,
    ReproGateError,
    UsageInvalid,
)

EXIT_CODES = """\b
Exit codes:
    0  everything asked for was checked, and agrees
    2  wrong command line
    3  an invalid file: the matrix, a golden or a report
    4  inconclusive: something could not be measured or written
   10  findings: drift, runs that differ, goldens missing or left over
  130  interrupted; what was measured so far is reported
"""

Failed: TypeAlias = Callable[[ReproGateError, ExitCode], None]


def nobody(error: ReproGateError, code: ExitCode) -> None:
    """Nobody else wants to know of a failure."""


def exit_with(command: Callable[[], ExitCode], *, failed: Failed = nobody) -> NoReturn:
    """Run a command and exit with its code, or with the code of what stopped it.

    `failed` is told of what stopped the command, after the user was.
    """
    try:
        code = command()
    except ReproGateError as error:
        code = _stopped(error, failed)
    except OSError as error:
        # A full disk, a folder that may not be written: the world's doing, and no crash of ours.
        where = "" if error.filename is None else f"{error.filename}: "
        unavailable = MeasurementUnavailable(
            f"{where}{error.strerror or error}",
            remedy=file_remedy(error),
        )
        code = _stopped(unavailable, failed)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
        typer.echo("repro-gate: interrupted", err=True)
        failed(MeasurementUnavailable("interrupted", remedy="run the command again"), code)
    raise typer.Exit(code)


def file_remedy(error: OSError) -> str:
    """Return what may help where the operating system refuses a file."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return "free space on the disk, or raise the limit on the size of files"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "give this user the right to read and write there"
        case errno.ENOTDIR | errno.EISDIR | errno.EEXIST:
            return "move away what is there: it is a file in place of a folder, or the reverse"
        case _:
            return "no remedy is known: the message is the operating system's own"


def _stopped(error: ReproGateError, failed: Failed) -> ExitCode:
    # Only a command that fails needs it.
    from repro_gate.reports.foreign import log_line  # noqa: PLC0415

    # A message names files, and says what stands in them.
    for line in str(error).splitlines():
        typer.echo(f"repro-gate: {log_line(line)}", err=True)
    if isinstance(error, MeasurementUnavailable) and error.remedy:
        typer.echo(f"  try: {log_line(error.remedy)}", err=True)
    code = _code_of(error)
    failed(error, code)
    return code


def _code_of(error: ReproGateError) -> ExitCode:
    match error:
        case UsageInvalid():
            return ExitCode.USAGE_INVALID
        case InputInvalid():
            return ExitCode.INPUT_INVALID
        case _:
            return ExitCode.INCONCLUSIVE
