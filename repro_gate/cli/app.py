"""The command line: what can be asked, and what the exit code will say.

Each command imports what it needs when it runs: `--help` must not wait for what it does not use.
"""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import repro_gate
from repro_gate.cli.options import Config, Device, ModelNames, Only, Output, Suites
from repro_gate.core.matrix import DEFAULT_MATRIX_FILE
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import (
    InputInvalid,
    MeasurementUnavailable,
    ReproGateError,
    UsageInvalid,
)

_STARTED = time.monotonic()

_EXIT_CODES = """\b
Exit codes:
    0  everything asked for was checked, and agrees
    2  wrong command line
    3  an invalid file: the matrix, a golden or a report
    4  inconclusive: something could not be measured or written
   10  findings: drift, runs that differ, goldens missing or left over
  130  interrupted; what was measured so far is reported
"""

app = typer.Typer(
    name="repro-gate",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="""Prove that an inference stack still says what it said.

    repro-gate runs a fixed matrix of model x prompt x seed several times on this machine. The
    runs must equal each other, and they must equal the committed golden, token for token. It asks
    hosted models for the log-probabilities of fixed responses, which must be those of the baseline.
    """,
    epilog=_EXIT_CODES,
)
models_app = typer.Typer(
    no_args_is_help=True, help="List, fetch and verify the model files.", epilog=_EXIT_CODES
)
app.add_typer(models_app, name="models")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 -- typer calls it with a position
    if wanted:
        typer.echo(f"repro-gate {repro_gate.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    del version


@app.command(epilog=_EXIT_CODES)
def check(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = DEFAULT_MATRIX_FILE,
    suite: Suites = None,
    only: Only = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Runs per cell, instead of what the suite says.")
    ] = None,
    device: Device = None,
    output: Output = Path(".repro-gate"),
    json: Annotated[bool, typer.Option("--json", help="Print report.json, and only it.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print one line.")] = False,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit with 0 whatever the verdicts are.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the draws of an interrupted check.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be run and spent, and exit with 4.")
    ] = False,
) -> None:
    """Run the matrix and compare it with the committed goldens and baselines.

    Writes report.json, report.md and junit.xml, and keeps what it observed: tokens in golden
    form below observed/, log-probabilities in draws.jsonl.
    """

    def command() -> ExitCode:
        from repro_gate.cli.opening import Selection, open_and_start

        suites = tuple(suite or ())
        selection = Selection(config=config, suites=suites, only=only, runs=runs, device=device)
        opening = open_and_start(selection)
        with closing(opening.engines):
            from repro_gate.cli.check import CheckOptions, run_check

            options = CheckOptions(
                output=output,
                json=json,
                quiet=quiet,
                exit_zero=exit_zero,
                resume=resume,
                dry_run=dry_run,
            )
            return run_check(opening, options, started=_STARTED)

    _exit_with(command)


@app.command("update-snapshots", epilog=_EXIT_CODES)
def update_snapshots(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = DEFAULT_MATRIX_FILE,
    suite: Suites = None,
    only: Only = None,
    device: Device = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Accept what a check elsewhere observed: its report folder."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also remove goldens that no cell claims.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Accept what the models say now as the new goldens.

    Shows what would change and asks before it writes. Records nothing for a cell whose runs
    differ, and never runs under CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.opening import Selection, open_matrix
        from repro_gate.cli.update import UpdateOptions, run_update

        suites = tuple(suite or ())
        opening = open_matrix(Selection(config=config, suites=suites, only=only, device=device))
        options = UpdateOptions(source=source, prune=prune, yes=yes)
        return run_update(opening, options, started=_STARTED)

    _exit_with(command)


@app.command("record-baseline", epilog=_EXIT_CODES)
def record_baseline(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = DEFAULT_MATRIX_FILE,
    suite: Suites = None,
    only: Only = None,
    device: Device = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also record anew what has a baseline already.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also remove baselines that no cell claims.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the draws of an interrupted recording.")
    ] = False,
    output: Output = Path(".repro-gate"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Record the log-probabilities that the models give now as baselines.

    Makes the calibration draws of every cell that has no baseline, shows what came of them, and
    asks before it writes. Records nothing where draws are outliers, and never runs under CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.opening import Selection, open_matrix
        from repro_gate.cli.record import RecordOptions, run_record

        suites = tuple(suite or ())
        opening = open_matrix(Selection(config=config, suites=suites, only=only, device=device))
        options = RecordOptions(again=again, prune=prune, resume=resume, output=output, yes=yes)
        return run_record(opening, options)

    _exit_with(command)


@app.command(epilog=_EXIT_CODES)
def doctor(*, config: Config = DEFAULT_MATRIX_FILE, device: Device = None) -> None:
    """Print what is installed, which device is used, and what would be checked."""

    def command() -> ExitCode:
        from repro_gate.cli.doctor import run_doctor
        from repro_gate.cli.opening import Selection, open_matrix

        return run_doctor(open_matrix(Selection(config=config, device=device)))

    _exit_with(command)


@models_app.command("list", epilog=_EXIT_CODES)
def models_list(
    *,
    config: Config = DEFAULT_MATRIX_FILE,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print each model: where it is, what it must be, whether it is there."""

    def command() -> ExitCode:
        from repro_gate.cli.models import run_list
        from repro_gate.cli.opening import Selection, open_matrix

        return run_list(open_matrix(Selection(config=config)), as_json=json)

    _exit_with(command)


@models_app.command("fetch", epilog=_EXIT_CODES)
def models_fetch(names: ModelNames = None, *, config: Config = DEFAULT_MATRIX_FILE) -> None:
    """Make or download models."""

    def command() -> ExitCode:
        from repro_gate.cli.models import run_fetch
        from repro_gate.cli.opening import Selection, open_matrix

        return run_fetch(open_matrix(Selection(config=config)), names or [])

    _exit_with(command)


@models_app.command("verify", epilog=_EXIT_CODES)
def models_verify(names: ModelNames = None, *, config: Config = DEFAULT_MATRIX_FILE) -> None:
    """Compare each model file with its pinned digest."""

    def command() -> ExitCode:
        from repro_gate.cli.models import run_verify
        from repro_gate.cli.opening import Selection, open_matrix

        return run_verify(open_matrix(Selection(config=config)), names or [])

    _exit_with(command)


def main() -> None:
    """Run the command line."""
    # A cancelled CI job sends SIGTERM: what was measured so far is kept as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        # A console that cannot show a character gets its escape, not a traceback.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()


def _exit_with(command: Callable[[], ExitCode]) -> NoReturn:
    """Run a command and exit with its code, or with the code of what stopped it."""
    try:
        code = command()
    except UsageInvalid as error:
        code = _told(error, ExitCode.USAGE_INVALID)
    except InputInvalid as error:
        code = _told(error, ExitCode.INPUT_INVALID)
    except MeasurementUnavailable as error:
        code = _told(error, ExitCode.INCONCLUSIVE)
        if error.remedy:
            typer.echo(f"  try: {error.remedy}", err=True)
    except OSError as error:
        # A full disk, a folder that may not be written: the world's doing, and no crash of ours.
        where = "" if error.filename is None else f"{error.filename}: "
        unavailable = MeasurementUnavailable(f"{where}{error.strerror or error}")
        code = _told(unavailable, ExitCode.INCONCLUSIVE)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
        typer.echo("repro-gate: interrupted", err=True)
    raise typer.Exit(code)


def _told(error: ReproGateError, code: ExitCode) -> ExitCode:
    for line in str(error).splitlines():
        typer.echo(f"repro-gate: {line}", err=True)
    return code
