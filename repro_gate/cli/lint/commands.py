"""The command `lint`: it parses its command line and runs."""

from repro_gate.cli.commands import Config, PrintJson
from repro_gate.cli.terminal.console import exit_with
from repro_gate.core.outcome import ExitCode


def lint(*, config: Config = None, json: PrintJson = False) -> None:
    """Check the matrix, snapshots and pins without an engine.

    Finds what is invalid, of another definition, orphaned, missing or misplaced. Measures nothing.
    """

    def command() -> ExitCode:
        from repro_gate.cli.lint.run import run_lint
        from repro_gate.cli.paths import matrix_file

        return run_lint(matrix_file(config), as_json=json)

    exit_with(command)
