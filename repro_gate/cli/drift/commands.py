"""The commands about drift: each parses its command line and calls the module that runs it."""

from pathlib import Path
from typing import Annotated

import typer

from repro_gate.cli.commands import Config, Device, Only, Suites
from repro_gate.cli.paths import report_folder
from repro_gate.cli.terminal.console import exit_with
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import UsageInvalid

Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine", metavar="NAME", help="Another engine of the matrix to try; repeatable."
    ),
]


def explain(  # noqa: PLR0913 -- one parameter for each option
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
    attribute: Annotated[
        bool,
        typer.Option(
            "--attribute",
            help="Also run the cell with one thing changed at a time, to find the cause.",
        ),
    ] = False,
    engine: Engines = None,
    device: Device = None,
    config: Config = None,
) -> None:
    """Show what is known of the divergence of one cell.

    CELL is its id, or a pattern that matches one cell, such as '*--haiku--seed42'.

    Reads the report of the last check and the committed golden, and starts no engine. Shows the
    cause and its reason, the candidates and the draw at the fork, how far log-probabilities moved,
    and what changed.

    With --attribute it runs the cell on this machine: as it is, with each changed setting put
    back, and with any other thing changed, and shows which gives the golden's tokens.
    """

    def command() -> ExitCode:
        from repro_gate.cli.drift.explain import Experiments, explain_cell, explain_pack

        if engine and not attribute:
            raise UsageInvalid("--engine needs --attribute")
        experiments = Experiments(device=device, engines=tuple(engine or ()))
        if cell is not None and source is None:
            return explain_cell(
                cell,
                report_folder(report, config),
                config,
                pack=pack,
                experiments=experiments if attribute else None,
            )
        if cell is None and source is not None and not (report or pack or attribute):
            return explain_pack(source)
        raise UsageInvalid(
            "give CELL, or --from FILE without CELL, --report, --pack and --attribute"
        )

    exit_with(command)


def axes(  # noqa: PLR0913 -- one parameter for each option
    model: Annotated[str, typer.Argument(metavar="MODEL", hidden=True)],
    *,
    config: Config = None,
    suite: Suites = None,
    only: Only = None,
    device: Device = None,
    engine: Engines = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Also write a page in Markdown."),
    ] = None,
) -> None:
    """Show which settings change the tokens of a model.

    Runs a few cells of MODEL on this machine, or those of --suite and --only, and again with one
    thing changed at a time: threads, flash attention, the type of the KV cache, batches, repacked
    weights, offloading, device, neighbours and engine. Reads and writes no golden.
    """

    def command() -> ExitCode:
        from repro_gate.cli.drift.axes import AxesOptions, run_axes
        from repro_gate.cli.session import Selection, open_session

        suites = tuple(suite or ())
        session = open_session(Selection(config=config, suites=suites, only=only, device=device))
        options = AxesOptions(model=model, engines=tuple(engine or ()), output=output)
        return run_axes(session, options)

    exit_with(command)


def record_reference(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = None,
    suite: Suites = None,
    only: Only = None,
    device: Device = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            metavar="NAME",
            help="A harmless change of the matrix; repeatable; default: all of them.",
        ),
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Record this machine, with the settings of the matrix, as a change by this name.",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="With --as: take the goldens of this machine profile.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Record how far harmless changes move the tokens of the goldens.

    Forces the committed tokens through an engine with each change, shows the distances and asks
    before writing. A check grades its drift by them. Refuses to run in CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.drift.references import ReferenceOptions, run_record_reference
        from repro_gate.cli.session import Selection, open_session

        suites = tuple(suite or ())
        session = open_session(Selection(config=config, suites=suites, only=only, device=device))
        options = ReferenceOptions(
            variants=tuple(variant or ()), machine=machine, profile=profile, yes=yes
        )
        return run_record_reference(session, options)

    exit_with(command)
