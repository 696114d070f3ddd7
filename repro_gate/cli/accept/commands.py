"""The commands of the workflow that records goldens: each runs in a job of its own."""

import time
from pathlib import Path
from typing import Annotated

import typer

from repro_gate.cli.commands import Config
from repro_gate.cli.terminal.console import EXIT_CODES, exit_with
from repro_gate.core.comments import DEFAULT_NAME
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import ReproGateError

accept_app = typer.Typer(
    no_args_is_help=True,
    help="Record the goldens that a comment on a pull request asks for, in GitHub Actions.",
    epilog=EXIT_CODES,
)
_STARTED = time.monotonic()


@accept_app.command(epilog=EXIT_CODES)
def find(
    *,
    workflow: Annotated[
        str,
        typer.Option(
            "--workflow",
            metavar="FILE",
            help="File name of the workflow that runs the gate.",
            envvar="REPRO_GATE_WORKFLOW",
        ),
    ] = "gate.yml",
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Artifact of that workflow with the report folder.",
            envvar="REPRO_GATE_NAME",
        ),
    ] = DEFAULT_NAME,
) -> None:
    """Find the result that the comment may accept.

    The author needs write access, and the result has to be that of the head of a pull request from
    this repository. Sets the outputs head, branch, run and artifact, or answer with the reason.
    """

    def command() -> ExitCode:
        from repro_gate.cli.accept.find import run_find

        return run_find(workflow=workflow, name=name)

    exit_with(command, on_failure=_answer)


@accept_app.command(epilog=EXIT_CODES)
def record(
    *,
    source: Annotated[
        Path,
        typer.Option("--from", metavar="DIR", help="The artifact: a report folder."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="New folder for a copy of what was recorded."
        ),
    ],
    run: Annotated[
        int,
        typer.Option(
            "--run",
            metavar="ID",
            help="The run that made the artifact, for the commit message.",
            envvar="REPRO_GATE_RUN",
        ),
    ],
    config: Config = None,
) -> None:
    """Record what the comment accepts.

    Works in a checkout of the head of the pull request and runs nothing of it. Sets the outputs
    sums, the sha256 of the list of files, and changes, or answer with the reason why not.
    """

    def command() -> ExitCode:
        from repro_gate.cli.accept.record import RecordOptions, run_record

        options = RecordOptions(source=source, output=output, run=run, config=config)
        return run_record(options, started=_STARTED)

    exit_with(command, on_failure=_answer)


@accept_app.command(epilog=EXIT_CODES)
def answer(
    *,
    text: Annotated[
        str,
        typer.Option(
            "--text",
            metavar="TEXT",
            help="The output changes or answer of the other commands.",
            envvar="REPRO_GATE_TEXT",
        ),
    ] = "",
    commit: Annotated[
        str,
        typer.Option(
            "--commit",
            metavar="SHA",
            help="The commit that was pushed; empty if none was.",
            envvar="REPRO_GATE_COMMIT",
        ),
    ] = "",
    starts_checks: Annotated[
        bool,
        typer.Option(
            "--starts-checks",
            help="The commit was pushed with a token whose pushes start workflows.",
            envvar="REPRO_GATE_STARTS_CHECKS",
        ),
    ] = False,
) -> None:
    """Answer the comment."""

    def command() -> ExitCode:
        from repro_gate.cli.accept.answer import run_answer

        return run_answer(text=text, commit=commit, starts_checks=starts_checks)

    exit_with(command)


def _answer(error: ReproGateError, code: ExitCode) -> None:
    from repro_gate.cli.accept.answer import write_refusal

    del code
    write_refusal(error)
