"""The hooks of pre-commit: valid, and installed without the inference library."""

import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

from tests.cli.workspaces import Workspace

_ROOT = Path(__file__).parents[3]
_FILE = _ROOT / ".pre-commit-hooks.yaml"


def _dependencies() -> list[str]:
    hooks: list[dict[str, Any]] = yaml.safe_load(_FILE.read_text("utf-8"))
    (isolated,) = (hook for hook in hooks if hook["language"] == "python")
    dependencies: list[str] = isolated["additional_dependencies"]
    return dependencies


def _needed(*names: str) -> set[str]:
    """Return packages and everything that they need here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            known = map(Requirement, requires(name) or ())
            waiting += [
                one.name for one in known if not one.marker or one.marker.evaluate({"extra": ""})
            ]
    return found


def test_pre_commit_accepts_the_manifest() -> None:
    """By its own validation."""
    command = [sys.executable, "-m", "pre_commit", "validate-manifest", str(_FILE)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_the_isolated_hook_installs_what_the_command_needs_and_no_more() -> None:
    """At the versions of the lock: all dependencies would compile llama.cpp."""
    first, *pinned = _dependencies()
    locked = (_ROOT / "requirements.lock").read_text("utf-8").splitlines()

    assert first == "--no-deps"
    assert {pin.partition("==")[0] for pin in pinned} == _needed("typer", "jsonschema")
    assert [pin for pin in pinned if f"{pin} \\" not in locked] == []


def test_the_command_imports_no_other_package(recorded: Workspace) -> None:
    """Also where it explains an invalid matrix."""
    recorded.write_matrix(schema="repro-gate/matrix/v9")
    names = {pin.partition("==")[0] for pin in _dependencies()}

    ran = recorded.run("lint", PYTHONPROFILEIMPORTTIME="1")

    lines = (line for line in ran.err.splitlines() if line.startswith("import time:"))
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    known = packages_distributions()
    used = {name.lower() for module in modules for name in known.get(module, ())}
    used = {name.replace("_", "-") for name in used}
    assert "jsonschema" in used
    # jsonschema imports idna where it happens to be installed.
    assert used - names <= {"idna", "repro-gate"}
