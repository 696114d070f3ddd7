"""The commands that write what is committed: goldens and baselines."""

import time
from pathlib import Path
from typing import Annotated

import typer

from repro_gate.cli.exiting import exit_with
from repro_gate.cli.options import (
    AllowedHosts,
    Config,
    Device,
    Only,
    Output,
    Suites,
)
from repro_gate.cli.places import report_folder
from repro_gate.core.outcome import ExitCode

_STARTED = time.monotonic()


def update_snapshots(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = None,
    suite: Suites = None,
    only: Only = None,
    device: Device = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Accept the output that another check observed: its report folder.",
        ),
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Also remove orphaned goldens.")] = False,
    repin: Annotated[
        list[str] | None,
        typer.Option(
            "--repin",
            metavar="MODEL",
            help="Accept the new file of a model: pin it and re-record its cells in every suite.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Accept the current output of the models as the new goldens.

    Shows what would change and asks before writing. Records nothing for a cell whose runs
    differ, and refuses to run in CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.opening import Selection, open_matrix
        from repro_gate.cli.update import UpdateOptions, run_update

        suites = tuple(suite or ())
        opening = open_matrix(Selection(config=config, suites=suites, only=only, device=device))
        options = UpdateOptions(
            source=source,
            prune=prune,
            yes=yes,
            repin=tuple(repin or ()),
            kept=report_folder(None, config) / "update",
        )
        return run_update(opening, options, started=_STARTED)

    exit_with(command)


def record_baseline(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = None,
    suite: Suites = None,
    only: Only = None,
    device: Device = None,
    again: Annotated[
        bool, typer.Option("--again", help="Re-record cells that already have a baseline.")
    ] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Also remove orphaned baselines.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted recording from its draw log.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the planned draws and their cost, and exit with 4."),
    ] = False,
    allowed_hosts: AllowedHosts = None,
    output: Output = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Record the current log-probabilities of the models as baselines.

    Makes the calibration draws of every cell without a baseline, shows the result and asks
    before writing. Records nothing where draws are outliers, and refuses to run in CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.opening import Selection, open_matrix, parsed_hosts
        from repro_gate.cli.record import RecordOptions, run_record

        suites = tuple(suite or ())
        hosts = parsed_hosts(allowed_hosts)
        opening = open_matrix(
            Selection(config=config, suites=suites, only=only, device=device, allowed_hosts=hosts)
        )
        options = RecordOptions(
            again=again,
            prune=prune,
            resume=resume,
            output=report_folder(output, config),
            yes=yes,
            dry_run=dry_run,
        )
        return run_record(opening, options)

    exit_with(command)
