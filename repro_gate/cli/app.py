"""The application: its commands, and how the process ends.

A command imports what it needs when it runs, so that `--help` stays quick.
"""

import sys
from typing import Annotated

import typer

import repro_gate
from repro_gate.cli import signals
from repro_gate.cli.accept.commands import accept_app
from repro_gate.cli.commands import (
    Config,
    Device,
    Devices,
    ModelNames,
    Only,
    PrintJson,
    Suites,
    check,
    merge,
    publish,
    record_baseline,
    settings,
    update_snapshots,
)
from repro_gate.cli.drift.commands import axes, explain, record_reference
from repro_gate.cli.history.commands import history_app
from repro_gate.cli.hosted.commands import probe
from repro_gate.cli.lint.commands import lint
from repro_gate.cli.release.commands import countersign, sign_off, verify, waive
from repro_gate.cli.review.commands import review
from repro_gate.cli.start.commands import demo, init
from repro_gate.cli.terminal.console import (
    EXIT_CODES,
    exit_with,
    guard_streams,
    has_lost_output,
    unavailable,
    warn,
)
from repro_gate.cli.watch.commands import watch_app
from repro_gate.core.outcome import ExitCode

models_app = typer.Typer(
    no_args_is_help=True, help="List, fetch and verify the model files.", epilog=EXIT_CODES
)


@models_app.command("list", epilog=EXIT_CODES)
def models_list(
    *,
    config: Config = None,
    json: PrintJson = False,
) -> None:
    """List each model, and whether it is present.

    With its source and its pinned digest.
    """

    def command() -> ExitCode:
        from repro_gate.cli.doctor import run_list
        from repro_gate.cli.session import Selection, open_session

        return run_list(open_session(Selection(config=config)), as_json=json)

    exit_with(command)


@models_app.command("fetch", epilog=EXIT_CODES)
def models_fetch(names: ModelNames = None, *, config: Config = None) -> None:
    """Build or download each MODEL of the matrix.

    Default: all models.
    """

    def command() -> ExitCode:
        from repro_gate.cli.doctor import run_fetch
        from repro_gate.cli.session import Selection, open_session

        return run_fetch(open_session(Selection(config=config)), names or [])

    exit_with(command)


@models_app.command("verify", epilog=EXIT_CODES)
def models_verify(names: ModelNames = None, *, config: Config = None) -> None:
    """Verify each MODEL against its pinned digest.

    Default: all models.
    """

    def command() -> ExitCode:
        from repro_gate.cli.doctor import run_verify
        from repro_gate.cli.session import Selection, open_session

        return run_verify(open_session(Selection(config=config)), names or [])

    exit_with(command)


app = typer.Typer(
    name="repro-gate",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="""Check that an inference stack still produces the same output.

    repro-gate runs a fixed matrix of model x prompt x seed several times on this machine. All
    runs must be identical and must match the committed golden, token for token. For hosted models
    it compares the log-probabilities of fixed responses with a recorded baseline.
    """,
    epilog=EXIT_CODES,
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 -- typer passes it by position
    if wanted:
        typer.echo(f"repro-gate {repro_gate.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    del version


def doctor(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = None,
    suite: Suites = None,
    only: Only = None,
    device: Device = None,
    devices: Devices = None,
    expect_gpu: Annotated[
        bool,
        typer.Option(
            "--expect-gpu",
            help="Exit with 4 if llama.cpp would run on the CPU.",
        ),
    ] = False,
) -> None:
    """Show versions, devices and the planned check."""

    def command() -> ExitCode:
        from repro_gate.cli.doctor import run_doctor
        from repro_gate.cli.session import Selection, open_session, parse_devices

        selection = Selection(
            config=config,
            suites=tuple(suite or ()),
            only=only,
            device=device,
            devices=parse_devices(devices),
        )
        return run_doctor(open_session(selection), expect_gpu=expect_gpu)

    exit_with(command)


app.command(epilog=EXIT_CODES)(demo)
app.command(epilog=EXIT_CODES)(init)
app.command(epilog=EXIT_CODES)(check)
app.command(epilog=EXIT_CODES)(lint)
app.command(epilog=EXIT_CODES)(explain)
app.command(epilog=EXIT_CODES)(axes)
app.command(epilog=EXIT_CODES)(merge)
app.command(epilog=EXIT_CODES)(publish)
app.command(epilog=EXIT_CODES)(review)
app.command("update-snapshots", epilog=EXIT_CODES)(update_snapshots)
app.command("record-baseline", epilog=EXIT_CODES)(record_baseline)
app.command(epilog=EXIT_CODES)(probe)
app.command("record-reference", epilog=EXIT_CODES)(record_reference)
app.command("sign-off", epilog=EXIT_CODES)(sign_off)
app.command(epilog=EXIT_CODES)(countersign)
app.command(epilog=EXIT_CODES)(waive)
app.command(epilog=EXIT_CODES)(verify)
app.command(epilog=EXIT_CODES)(settings)
app.command(epilog=EXIT_CODES)(doctor)
app.add_typer(models_app, name="models")
app.add_typer(accept_app, name="accept")
app.add_typer(history_app, name="history")
app.add_typer(watch_app, name="watch")


def main() -> None:
    """Run the command line and exit with its code; errors of the system are not crashes."""
    signals.install_handlers()
    guard_streams()
    code = _code_of_app()
    signals.ignore_all()
    # Lost output that is in no report makes a pass inconclusive.
    if has_lost_output() and code == ExitCode.PASSED:
        code = ExitCode.INCONCLUSIVE.value
    sys.exit(code)


def _code_of_app() -> int:
    try:
        app()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED.value
    except (OSError, MemoryError) as error:
        warn(f"repro-gate: {unavailable(error)}")
        return ExitCode.INCONCLUSIVE.value
    return 0
