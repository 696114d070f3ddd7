"""A folder with a matrix, goldens and a configuration of pytest, and pytest run in it."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.workspaces import PATIENCE_S, Workspace

_INI = """
[pytest]
addopts = --strict-markers --strict-config --import-mode=importlib
filterwarnings = error
xfail_strict = true
"""
_PLUGINS = ("syrupy", "repro_gate.pytest_plugin")
"""No others, but pytest-xdist where it is used: that is twice as fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The exit code and the output of pytest."""

    code: int
    out: str

    @property
    def last(self) -> str:
        """The line with the numbers of tests, without the time."""
        return self.out.splitlines()[-1].strip("= ").rpartition(" in ")[0]


@dataclass(frozen=True, slots=True)
class Project:
    """A repository with a matrix of four cells on a scripted engine."""

    gate: Workspace

    def start(self, *options: str, **env: str) -> "subprocess.Popen[str]":
        """Start pytest in the folder."""
        usual = {
            name: value
            for name, value in self.gate.environment(**env).items()
            # What our own pytest has compiled is used.
            if not name.startswith(("PYTEST_", "PYTHONPYCACHEPREFIX"))
        }
        more = ("xdist",) if "-n" in options else ()
        plugins = [word for name in (*_PLUGINS, *more) for word in ("-p", name)]
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *plugins, *options],
            cwd=self.gate.folder,
            env=usual | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "120"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A terminal sends Ctrl-C to all of a group.
            start_new_session=True,
        )

    def pytest(self, *options: str, **env: str) -> Ran:
        """Run pytest in the folder to its end."""
        return ended(self.start(*options, **env))

    def write(self, name: str, text: str) -> None:
        """Write a file of the repository."""
        (self.gate.folder / name).write_text(text, "utf-8")

    def drift(self, prompt: str = "Say fox", seed: int = 1) -> None:
        """Have one cell generate other tokens than its golden has."""
        tokens = {"tokens": [[7, b" 7".hex()], [8, b" 8".hex()]]}
        rule = {"method": "generate", "prompt": prompt, "seed": seed, "result": tokens}
        self.gate.write_script(rule)


def ended(process: "subprocess.Popen[str]") -> Ran:
    """Wait for pytest to end, and kill it if it does not."""
    with process:
        try:
            out, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    return Ran(code=process.returncode, out=out)


@pytest.fixture(scope="session")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with goldens, to be copied and not to be worked in."""
    workspace = Workspace(
        folder=tmp_path_factory.mktemp("recorded"), cache=tmp_path_factory.mktemp("cache")
    )
    (workspace.folder / "tiny.gguf").write_bytes(b"weights")
    (workspace.folder / "pytest.ini").write_text(_INI, "utf-8")
    workspace.write_matrix()
    workspace.write_script()
    assert workspace.record().code == 0
    shutil.rmtree(workspace.output)
    return workspace


@pytest.fixture
def project(recorded_once: Workspace, tmp_path: Path) -> Project:
    """Return a repository whose cells match their goldens."""
    return Project(recorded_once.copied_to(tmp_path))
