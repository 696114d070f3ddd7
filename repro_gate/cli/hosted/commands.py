"""The commands about hosted models: each parses its command line and runs."""

from typing import Annotated

import typer

from repro_gate.cli.commands import PrintJson
from repro_gate.cli.terminal.console import exit_with
from repro_gate.core.outcome import ExitCode


def probe(
    # Typer would show the Python type.
    url: Annotated[str, typer.Argument(metavar="URL", hidden=True)],
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="The model's name at the server.")
    ],
    api_key_env: Annotated[
        str | None,
        typer.Option(
            "--api-key-env",
            metavar="NAME",
            help="The variable that holds the key, if one is needed.",
        ),
    ] = None,
    json: PrintJson = False,
) -> None:
    """Find out which log-probabilities the server at URL gives.

    Makes at most ten calls, and prints what was seen, the kinds of policy that are possible, and
    their part of the matrix file. URL ends before /chat/completions.
    """

    def command() -> ExitCode:
        from repro_gate.cli.hosted.probe import run_probe

        return run_probe(url, model, api_key_env=api_key_env, as_json=json)

    exit_with(command)
