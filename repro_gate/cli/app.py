"""The command line: what can be asked, and what the exit code will say.

Each command imports what it needs when it runs: `--help` must not wait for what it does not use.
"""

import signal
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

import repro_gate
from repro_gate.cli.exiting import EXIT_CODES, exit_with
from repro_gate.cli.gate_commands import check, merge, publish
from repro_gate.cli.model_commands import models_app
from repro_gate.cli.options import Config, Device, Devices, Only, Suites
from repro_gate.cli.recording_commands import record_baseline, update_snapshots
from repro_gate.core.matrix import DEFAULT_MATRIX_FILE
from repro_gate.core.outcome import ExitCode

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
    epilog=EXIT_CODES,
)


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


def doctor(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = DEFAULT_MATRIX_FILE,
    suite: Suites = None,
    only: Only = None,
    device: Device = None,
    devices: Devices = None,
    expect_gpu: Annotated[
        bool,
        typer.Option(
            "--expect-gpu",
            help="Exit with 4 when llama.cpp would measure, and not on a GPU.",
        ),
    ] = False,
) -> None:
    """Print what is installed, which device is used, and what would be checked."""

    def command() -> ExitCode:
        from repro_gate.cli.doctor import run_doctor
        from repro_gate.cli.opening import Selection, open_matrix, parsed_devices

        selection = Selection(
            config=config,
            suites=tuple(suite or ()),
            only=only,
            device=device,
            devices=parsed_devices(devices),
        )
        return run_doctor(open_matrix(selection), expect_gpu=expect_gpu)

    exit_with(command)


app.command(epilog=EXIT_CODES)(check)
app.command(epilog=EXIT_CODES)(merge)
app.command(epilog=EXIT_CODES)(publish)
app.command("update-snapshots", epilog=EXIT_CODES)(update_snapshots)
app.command("record-baseline", epilog=EXIT_CODES)(record_baseline)
app.command(epilog=EXIT_CODES)(doctor)
app.add_typer(models_app, name="models")


def main() -> None:
    """Run the command line."""
    # A cancelled CI job sends SIGTERM: what was measured so far is kept as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        # A console that cannot show a character gets its escape, not a traceback.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
