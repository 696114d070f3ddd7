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


def init(  # noqa: PLR0913 -- one parameter for each option
    # Typer would show the Python type.
    source: Annotated[str | None, typer.Argument(metavar="[SOURCE]", hidden=True)] = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="NAME", help="The model's name at a server or a provider."
        ),
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            "--api-key-env",
            metavar="NAME",
            help="The variable that holds the key of a server, or another one for a provider.",
        ),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Find out what a provider allows, in at most ten calls."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the files instead of writing them.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take the first that was found.")
    ] = False,
) -> None:
    """Write a matrix, a workflow and .gitignore for what this machine has.

    SOURCE is a GGUF file, the URL of a running server, a provider such as fireworks,
    builtin:tiny-qwen2, or hf:OWNER/REPO/FILE, which is fetched. Default: what was found, to choose
    from.

    Looks for GPUs, GGUF files, servers on the usual ports, and variables of keys by their names.
    No file is overwritten, and no key is sent unless you allow it.
    """

    def command() -> ExitCode:
        from repro_gate.cli.start.choose import SourceOptions
        from repro_gate.cli.start.init import InitOptions, run_init
        from repro_gate.cli.start.wiring import question_or_none, this_machine, working_folder

        asked = SourceOptions(
            source=source, model=model, api_key_env=api_key_env, yes=yes, probe=probe
        )
        folder = working_folder()
        options = InitOptions(
            asked=asked, folder=folder, dry_run=dry_run, ask=None if yes else question_or_none()
        )
        return run_init(options, this_machine(folder))

    exit_with(command)
