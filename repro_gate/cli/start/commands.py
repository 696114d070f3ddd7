"""The commands to begin with: each parses its command line and calls the module that runs it."""

from pathlib import Path
from typing import Annotated

import typer

from repro_gate.cli.terminal.console import exit_with
from repro_gate.core.outcome import ExitCode


def demo(
    *,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep the folders and reports in this folder."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FILE", help="A GGUF file whose tokens to show."),
    ] = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="Fetch SmolLM2 (98 MB) first, and show its English."),
    ] = False,
) -> None:
    """Show every verdict, from real checks of copies.

    Records goldens and baselines in a temporary folder, changes one thing after the other, and
    checks. For each verdict: what was changed, what was found, what it means, and what to do.

    Needs no configuration and no network. Exits with 10 if a verdict is not the expected one.
    """

    def command() -> ExitCode:
        from repro_gate.cli.start.demo import DemoOptions, run_demo

        return run_demo(DemoOptions(keep=keep, model=model, fetch=fetch))

    exit_with(command)
