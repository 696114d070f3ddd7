"""A folder in which `repro-gate` runs as a user runs it, with matrix files of a benchmark."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from typer.testing import CliRunner

from repro_gate.adapters.files.results import MAX_SHARD_BYTES, read_report
from repro_gate.cli.app import app
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import FinishedCheck, GateReport

_CHECKED: Final = (ExitCode.PASSED, ExitCode.FINDINGS, ExitCode.INCONCLUSIVE)
_NO_SNAPSHOTS: Final = frozenset({"CI", "GITHUB_ACTIONS"})
"""With these no golden is recorded."""
_CAUSE: Final = re.compile(r"^ +cause +(\w+)", re.MULTILINE)
_OUT: Final = "out"
_FILE: Final = "checked.toml"


def local_environment(**more: str) -> dict[str, str]:
    """Return the environment without what forbids to record goldens, and with more."""
    return {name: os.environ[name] for name in os.environ.keys() - _NO_SNAPSHOTS} | more


class Workplace:
    """A folder with a model as `model.gguf`, and in time with its goldens and references."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = folder / "model.gguf"
        self.model.symlink_to(model.resolve())

    def record(self, document: str, *options: str) -> None:
        """Record the goldens of a matrix, and the references of its variants."""
        file = self._file("recorded.toml", document)
        for command in ("update-snapshots", "record-reference"):
            self._run(command, "--yes", "--config", file, *options)

    def check(self, document: str, *options: str) -> tuple[GateReport, float]:
        """Check a matrix, and return the report and the CPU time of all processes in seconds."""
        file, before = self._file(_FILE, document), _cpu_s()
        arguments = ["--quiet", "--config", file, "--output", _OUT, *options]
        self._run("check", *arguments, codes=_CHECKED)
        seconds = _cpu_s() - before
        result = read_report(self.folder / _OUT, max_bytes=MAX_SHARD_BYTES)
        if not isinstance(result, FinishedCheck):
            raise SystemExit(f"the check did not finish: {result}")
        return result.report, seconds

    def cause_of(self, cell: str) -> str:
        """Return the class that `explain` names for a cell of the last check."""
        where = ["--report", str(self.folder / _OUT), "--config", str(self.folder / _FILE)]
        # In this process: there are hundreds.
        printed = CliRunner().invoke(app, ["explain", cell, *where]).output
        (cause,) = _CAUSE.findall(printed)
        return str(cause)

    def _file(self, name: str, document: str) -> str:
        (self.folder / name).write_text(document, encoding="utf-8")
        return name

    def _run(self, *arguments: str, codes: Sequence[ExitCode] = (ExitCode.PASSED,)) -> None:
        done = subprocess.run(
            # Without -P a checkout in the working directory would be measured.
            [sys.executable, "-P", "-m", "repro_gate", *arguments],
            cwd=self.folder,
            env=local_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in codes:
            raise SystemExit(
                f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )


def _cpu_s() -> float:
    """Return the CPU time of processes that ended, with their own children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
