"""The commands about model files."""

from typing import Annotated

import typer

from repro_gate.cli.exiting import EXIT_CODES, exit_with
from repro_gate.cli.options import Config, ModelNames
from repro_gate.core.outcome import ExitCode

models_app = typer.Typer(
    no_args_is_help=True, help="List, fetch and verify the model files.", epilog=EXIT_CODES
)


@models_app.command("list", epilog=EXIT_CODES)
def models_list(
    *,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List each model with its source, pinned digest and whether it is present."""

    def command() -> ExitCode:
        from repro_gate.cli.models import run_list
        from repro_gate.cli.opening import Selection, open_matrix

        return run_list(open_matrix(Selection(config=config)), as_json=json)

    exit_with(command)


@models_app.command("fetch", epilog=EXIT_CODES)
def models_fetch(names: ModelNames = None, *, config: Config = None) -> None:
    """Build or download each MODEL of the matrix; default: all."""

    def command() -> ExitCode:
        from repro_gate.cli.models import run_fetch
        from repro_gate.cli.opening import Selection, open_matrix

        return run_fetch(open_matrix(Selection(config=config)), names or [])

    exit_with(command)


@models_app.command("verify", epilog=EXIT_CODES)
def models_verify(names: ModelNames = None, *, config: Config = None) -> None:
    """Verify the file of each MODEL against its pinned digest; default: all."""

    def command() -> ExitCode:
        from repro_gate.cli.models import run_verify
        from repro_gate.cli.opening import Selection, open_matrix

        return run_verify(open_matrix(Selection(config=config)), names or [])

    exit_with(command)
