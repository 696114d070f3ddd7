"""The action and the workflows as they are written."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer.main
import yaml
from typer.core import TyperGroup

from repro_gate.cli.app import app

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "action.yml"
WORKFLOWS = tuple(sorted((ROOT / ".github" / "workflows").glob("*.yml")))
_COMMAND = re.compile(r'exec "\$COMMAND" (\w+)')
"""The shell gives way to the command, so that the runner's signals reach it."""
_INPUT = re.compile(r"inputs\.([a-z-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step, of the action or of a job."""

    name: str
    id: str
    uses: str
    run: str
    shell: str
    env: Mapping[str, str]
    inputs: Mapping[str, Any]

    @property
    def command(self) -> str | None:
        """The command of repro-gate that it runs, or None."""
        last = self.run.rstrip().rpartition("\n")[2]
        found = _COMMAND.fullmatch(last.partition(" --")[0])
        return None if found is None else found[1]


@cache
def document(file: Path) -> dict[Any, Any]:
    """Parse a file; `on:` is the key True, as YAML 1.1 has it."""
    read: dict[Any, Any] = yaml.safe_load(file.read_text("utf-8"))
    return read


def jobs_of(workflow: Path) -> dict[str, dict[str, Any]]:
    """Return the jobs of a workflow."""
    jobs: dict[str, dict[str, Any]] = document(workflow)["jobs"]
    return jobs


def steps_of(file: Path) -> list[Step]:
    """Return the steps of the action, or those of all jobs of a workflow."""
    if file == ACTION:
        return [_step(step) for step in document(file)["runs"]["steps"]]
    return [_step(step) for job in jobs_of(file).values() for step in job["steps"]]


def _step(written: Mapping[str, Any]) -> Step:
    texts = {key: str(written.get(key, "")) for key in ("name", "id", "uses", "run", "shell")}
    env = {name: str(value) for name, value in written.get("env", {}).items()}
    return Step(**texts, env=env, inputs=written.get("with", {}))


def inputs_in(expression: str) -> frozenset[str]:
    """Return the inputs that an expression names."""
    return frozenset(_INPUT.findall(expression))


@cache
def variables_of(command: str) -> Mapping[str, str]:
    """Return how each option of a command is spelled that has a variable, by the variable."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return dict(_spelled(group.commands[command].params))


def _spelled(parameters: list[Any]) -> Iterator[tuple[str, str]]:
    for parameter in parameters:
        if isinstance(parameter.envvar, str):
            spelling = parameter.opts[0] if parameter.opts[0].startswith("-") else "DIR..."
            yield parameter.envvar, spelling
