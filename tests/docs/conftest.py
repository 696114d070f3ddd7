"""A command line to try what the documentation shows."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import CliRunner, Result

from repro_gate.cli.app import app

CommandLine: TypeAlias = Callable[..., Result]


@pytest.fixture
def repro_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Run a command in the folder of the test, as someone at a terminal would."""
    monkeypatch.chdir(tmp_path)
    at_a_desk = {"CI": None, "GITHUB_ACTIONS": None}

    def run(*arguments: str) -> Result:
        return CliRunner(env=at_a_desk).invoke(app, arguments)

    return run
