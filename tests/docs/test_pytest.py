"""The page on pytest: its commands and its tests pass where its matrix is recorded."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from repro_gate.core.outcome import ExitCode
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.docs.conftest import CommandLine
from tests.docs.pages import page

_PAGE = page("docs/how-to/gate-with-pytest.md")
_MATRIX = page("docs/how-to/gate-your-own-model.md")


def test_the_commands_and_the_tests_of_the_page_pass(
    tmp_path: Path, repro_gate: CommandLine
) -> None:
    """With a model of one's own."""
    (matrix,) = (each for each in _MATRIX.blocks("toml") if each.startswith("schema"))
    (tests,) = _PAGE.blocks("python")
    (tmp_path / "repro-gate.toml").write_text(matrix, "utf-8")
    (tmp_path / "test_own.py").write_text(tests, "utf-8")
    (tmp_path / "models").mkdir()
    make(RECIPES["tiny-phi3"], tmp_path / "models" / "my-model.gguf")
    assert repro_gate("update-snapshots", "--yes").exit_code == ExitCode.PASSED

    (commands,) = _PAGE.blocks("sh")
    ends = [_ended(command, tmp_path) for command in commands.splitlines()]

    assert ends == ["16 passed", "2 passed, 14 deselected", "1 passed", "16 passed"]


def _ended(command: str, folder: Path) -> str:
    """Run a command of pytest, and return its last line without the time."""
    arguments = [sys.executable, "-m", *shlex.split(command)]
    # This test may run in a worker of pytest-xdist.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        arguments, cwd=folder, env=env, capture_output=True, check=False, text=True
    )
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    return done.stdout.splitlines()[-1].strip("= ").partition(" in ")[0]
