"""The commands about a history: each parses its command line and calls the module that runs it."""

from pathlib import Path
from typing import Annotated

import typer

from repro_gate.cli.commands import Config, PrintJson
from repro_gate.cli.paths import history_folder
from repro_gate.cli.terminal.console import EXIT_CODES, exit_with
from repro_gate.core.outcome import ExitCode

History = Annotated[
    Path | None,
    typer.Option(
        "--history",
        metavar="DIR",
        help="Folder of the history; default: .repro-gate/history beside the matrix file.",
        envvar="REPRO_GATE_HISTORY",
    ),
]
OneSuite = Annotated[
    str | None,
    typer.Option(
        "--suite",
        "-s",
        metavar="NAME",
        help="Only the sessions of a suite, and those of none, such as baselines.",
        envvar="REPRO_GATE_SUITE",
    ),
]
Cell = Annotated[
    str | None,
    typer.Option(
        "--cell", metavar="PATTERN", help="Only cells whose id matches, such as 'prod--*'."
    ),
]

history_app = typer.Typer(
    no_args_is_help=True, help="Keep, show and export draws over time.", epilog=EXIT_CODES
)


@history_app.command("add", epilog=EXIT_CODES)
def add(
    # Typer would show the Python type.
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", hidden=True)],
    *,
    config: Config = None,
    history: History = None,
) -> None:
    """Add sessions to the history.

    SOURCE is a report folder with draws.jsonl, a session file, a baseline, or a folder of them.

    Copies each session to a file that is never changed, and indexes it. Adding one again does
    nothing; another one with the same key is an error.
    """

    def command() -> ExitCode:
        from repro_gate.cli.history.files import run_add

        return run_add(history_folder(history, config), sources)

    exit_with(command)


@history_app.command("export", epilog=EXIT_CODES)
def export(  # noqa: PLR0913 -- one parameter for each option
    *,
    wanted: Annotated[
        str, typer.Option("--format", metavar="csv|jsonl|parquet", help="The format.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The file; default: print it, except parquet."
        ),
    ] = None,
    suite: OneSuite = None,
    cell: Cell = None,
    config: Config = None,
    history: History = None,
) -> None:
    """Export every draw of the history, one row for each.

    Parquet needs the extra "parquet" of this package, which installs pyarrow.
    """

    def command() -> ExitCode:
        from repro_gate.cli.history.files import ExportOptions, run_export

        options = ExportOptions(wanted=wanted, output=output, suite=suite, cells=cell)
        return run_export(history_folder(history, config), options)

    exit_with(command)


@history_app.command("show", epilog=EXIT_CODES)
def show(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = None,
    suite: OneSuite = None,
    cell: Cell = None,
    history: History = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write it as one self-contained page."),
    ] = None,
    json: PrintJson = False,
) -> None:
    """Show the draws of a suite over time.

    With outliers, changes of model and backend, latency, cost, importance weights and its watch.
    Default: the only suite of log-probabilities of the matrix.
    """

    def command() -> ExitCode:
        from repro_gate.cli.history.show import ShowOptions, run_show

        options = ShowOptions(suite=suite, cells=cell, html=html, json=json)
        return run_show(options, config, history_folder(history, config))

    exit_with(command)
