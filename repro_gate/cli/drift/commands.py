"""The commands about drift: each parses its command line and calls the module that runs it."""

from pathlib import Path
from typing import Annotated

import typer

from repro_gate.cli.commands import Config
from repro_gate.cli.paths import report_folder
from repro_gate.cli.terminal.console import exit_with
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import UsageInvalid


def explain(
    # Typer would show the Python type.
    cell: Annotated[str | None, typer.Argument(metavar="CELL", hidden=True)] = None,
    *,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            help="Report folder of the check; default: .repro-gate beside the matrix file.",
        ),
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option(
            "--pack",
            metavar="FILE",
            help="Also write all that is shown to a new zip file, to send to somebody else.",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Show the cell in a file that --pack has written."
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
        from repro_gate.cli.drift.explain import explain_cell, explain_pack

        if cell is not None and source is None:
            return explain_cell(cell, report_folder(report, config), config, pack=pack)
        if cell is None and source is not None and report is None and pack is None:
            return explain_pack(source)
        raise UsageInvalid("give CELL, or --from FILE without CELL, --report and --pack")

    exit_with(command)
