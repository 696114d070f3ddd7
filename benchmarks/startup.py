"""What a command costs besides its work: CPU seconds, user and system, of all its processes.

    python -m benchmarks.startup [--gate NAME=PYTHON ...] [--rounds N]

Each `--gate` is an interpreter whose installed gate is measured, this one unless any is named: the
gates take turns. Prints the median of each command, and that over `python -c "import typer"`:
* help: `repro-gate --help`;
* lint: `lint` of this repository;
* dry-run: `check --dry-run` of this repository's default suites;
* check: `check` of the embedded suite, with its engines;
* shard: `publish` of a green result that needs no comment;
* publish: `publish` of a green result that replaces an earlier comment, at a GitHub of our own.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cli.publish.jobs import Job
from tests.cli.workspaces import Workspace
from tests.fakes.github.server import Github, serving

_FIND = "import repro_gate; print(repro_gate.__file__)"
_REPORTS = "REPRO_GATE_OUTPUT"
# Also where no golden fits the CPU.
_CHECK = ("check", "--quiet", "--suite", "embedded", "--fail-on", "never")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gate", action="append", metavar="NAME=PYTHON", help="repeat to compare")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    named = [text.partition("=") for text in arguments.gate or [f"gate={sys.executable}"]]
    with tempfile.TemporaryDirectory() as name, serving() as github:
        gates = [_gate(gate, python, Path(name), github) for gate, _, python in named]
        measured = [(gate, gate.measure()) for _ in range(arguments.rounds) for gate in gates]
    for gate in gates:
        found: dict[str, list[float]] = defaultdict(list)
        for seconds in (seconds for measured_gate, seconds in measured if measured_gate is gate):
            for command, value in seconds.items():
                found[command].append(value)
        typer = statistics.median(found.pop("typer"))
        for command, values in found.items():
            value = statistics.median(values)
            print(f"{command} {gate.name} {value:.3f} s ({value / typer:.1f} times import typer)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """An installed gate, with its report of the embedded suite."""

    name: str
    python: str
    job: Job
    github: Github
    environment: Mapping[str, str]

    def measure(self) -> dict[str, float]:
        """Return the CPU seconds of each command."""
        self.github.world.comments.clear()
        self.run("publish", "--comment", "always")
        return {
            "typer": self._cpu_s("-c", "import typer"),
            "help": self.run("--help"),
            "lint": self.run("lint"),
            "dry-run": self.run("check", "--dry-run", codes=(4,)),
            "publish": self.run("publish"),
            "shard": self.run("publish", "--shard", "1/2"),
            "check": self.run(*_CHECK),
        }

    def run(self, *arguments: str, codes: Sequence[int] = (0,)) -> float:
        """Run a command, and return its CPU seconds."""
        for file in ("output", "summary.md"):
            (self.job.folder / file).unlink(missing_ok=True)
        # Without -P a checkout in the working directory would be measured.
        return self._cpu_s("-P", "-m", "repro_gate", *arguments, codes=codes)

    def _cpu_s(self, *arguments: str, codes: Sequence[int] = (0,)) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(
            [self.python, *arguments],
            cwd=self.job.workspace.folder,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if ran.returncode not in codes:
            raise SystemExit(f"{' '.join(arguments)}: {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _gate(name: str, python: str, folder: Path, github: Github) -> Gate:
    """Return a gate with a report of the embedded suite; making it warms the gate up."""
    own = folder / name
    own.mkdir()
    printed = subprocess.check_output([python, "-P", "-c", _FIND], text=True)
    # The matrix of the checkout that is installed: another version may not read ours.
    workspace = Workspace(folder=Path(printed.strip()).parents[1], cache=own)
    job = Job(workspace=workspace, folder=own, api_url=github.api_url)
    # Compiling every module again would take longer than most of these commands.
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment = {**kept, **job.variables, _REPORTS: str(own / "report")}
    gate = Gate(name=name, python=python, job=job, github=github, environment=environment)
    gate.run(*_CHECK)
    return gate


if __name__ == "__main__":
    main()
