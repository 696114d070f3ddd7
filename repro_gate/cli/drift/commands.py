"""The commands about drift: each parses its command line and calls the module that runs it."""

from pathlib import Path
from typing import Annotated

import typer

from repro_gate.cli.commands import Config
from repro_gate.cli.paths import report_folder
from repro_gate.cli.terminal.console import exit_with
from repro_gate.core.outcome import ExitCode


def explain(
    cell: Annotated[str, typer.Argument(metavar="CELL", hidden=True)],
    *,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            help="Report folder of the check; default: .repro-gate beside the matrix file.",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Show what is known of the divergence of one cell.

    CELL is its id, or a pattern that matches one cell, such as '*--haiku--seed42'.

    Reads the report of the last check and the committed golden, and starts no engine. Shows the
    cause and its reason, the candidates and the draw at the fork, how far log-probabilities moved,
    and what changed.
    """

    def command() -> ExitCode:
        from repro_gate.cli.drift.explain import run_explain

        return run_explain(cell, report_folder(report, config), config)

    exit_with(command)
