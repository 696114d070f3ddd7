"""The command `review`: it parses its command line and calls the module that runs it."""

from pathlib import Path
from typing import Annotated

import typer

from repro_gate.cli.commands import Config, Output
from repro_gate.cli.paths import report_folder
from repro_gate.cli.terminal.console import exit_with
from repro_gate.core.changes.review import Order
from repro_gate.core.comments import DEFAULT_NAME
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import UsageInvalid


def review(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = None,
    output: Output = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Review this report folder, such as a downloaded artifact.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="ID",
            help="Review a run of GitHub Actions: download its artifact with gh.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="With --run: the artifact of the gate."),
    ] = None,
    by: Annotated[
        Order,
        typer.Option("--by", metavar="|".join(Order), help="How the changes are arranged."),
    ] = Order.CAUSE,
) -> None:
    """Review what a check observed, and accept or reject each change.

    Shows where tokens diverge from their golden, the facts that changed and the grade. Accepted
    output becomes the golden at once; the other decisions are kept beside the report, so that a
    review can be left at any time and resumed. Needs a terminal; without one it prints the
    commands to accept each cause. Refuses to run in CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.review.interactive import ReviewOptions, run_review
        from repro_gate.cli.session import Selection, open_session

        if source is not None and run is not None:
            raise UsageInvalid("--from and --run exclude each other: each is a report folder")
        if name is not None and run is None:
            raise UsageInvalid("--name needs --run: it is the name of its artifact")
        options = ReviewOptions(
            order=by,
            output=report_folder(output, config),
            source=source,
            run=run,
            name=DEFAULT_NAME if name is None else name,
        )
        return run_review(open_session(Selection(config=config)), options)

    exit_with(command)
