"""Brings the verdicts of the demo about: records and checks in folders, by the real program."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Final

from repro_gate.adapters.engines.environment import python_module_argv
from repro_gate.adapters.files.results import read_report
from repro_gate.cli.start.scenarios import Gate, Model, Stage, gates_of
from repro_gate.core.matrix import DEFAULT_MATRIX_FILE
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import FinishedCheck, GateReport
from repro_gate.errors import MeasurementUnavailable

_RECORDED: Final = "recorded"
_REPORTS: Final = ".repro-gate"
_TEXT: Final = "text.txt"
_NO_SNAPSHOTS: Final = ("CI", "GITHUB_ACTIONS")
"""With these nothing is recorded, and the demo records in a folder of its own only."""
_REASONS: Final = ("refused ", "repro-gate: ")
"""How the lines begin that show why nothing was recorded or checked."""
_CACHE: Final = "REPRO_GATE_CACHE"
_GRACE_S: Final = 20.0
"""How long a command may take to end its engines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedCommand:
    """A command of the demo that has ended."""

    gate: Gate
    stage: Stage | None
    """None for the recording."""
    code: int
    seconds: float
    output: str
    """Its reason, or else its last line; untrusted text."""
    report: GateReport | None = None
    """None for the recording, and for a check that did not finish."""


def run_gates(folder: Path, model: Model) -> Iterator[EndedCommand]:
    """Record and check in a folder, and yield each command as it ends, those of tokens first.

    Raises:
        MeasurementUnavailable: nothing could be recorded.
    """
    first, *others = gates_of(model)
    # The processes are ended before the threads that wait for them.
    with ThreadPoolExecutor(len(others)) as pool, closing(_Commands()) as commands:
        later = [pool.submit(list, _steps(folder, gate, model, commands)) for gate in others]
        yield from _steps(folder, first, model, commands)
        for steps in later:
            yield from steps.result()


def write_matrix(folder: Path, gate: Gate, model: Model) -> Path:
    """Write the matrix of a gate and its text into a new folder, and return the matrix file."""
    folder.mkdir(parents=True)
    ours = files(__package__ or "").joinpath("files")
    command = json.dumps(python_module_argv("repro_gate.engines.chain"))
    text = ours.joinpath(gate.matrix).read_text("utf-8").replace("@MODEL@", model.toml)
    file = folder / DEFAULT_MATRIX_FILE
    file.write_text(text.replace("@COMMAND@", command).replace("@PROMPT@", model.prompt), "utf-8")
    (folder / _TEXT).write_bytes(ours.joinpath(_TEXT).read_bytes())
    return file


def _steps(folder: Path, gate: Gate, model: Model, commands: "_Commands") -> Iterator[EndedCommand]:
    recorded = folder / gate.name / _RECORDED
    write_matrix(recorded, gate, model)
    code, seconds, output = commands.run(recorded, gate.record, "--yes")
    yield EndedCommand(gate=gate, stage=None, code=code, seconds=seconds, output=output)
    if code != ExitCode.PASSED:
        raise MeasurementUnavailable(
            f"the {gate.name} could not be recorded: {output}",
            remedy="repro-gate demo --keep DIR, then repro-gate doctor in a folder there",
        )
    for stage in gate.stages:
        copy = folder / gate.name / stage.name
        if copy != recorded:
            shutil.copytree(recorded, copy, ignore=shutil.ignore_patterns(_REPORTS))
        for scenario in stage.scenarios:
            if scenario.change is not None:
                scenario.change.apply(copy)
        code, seconds, output = commands.run(copy, "check", "--quiet", *stage.options)
        result = read_report(copy / _REPORTS)
        report = result.report if isinstance(result, FinishedCheck) else None
        step = EndedCommand(gate=gate, stage=stage, code=code, seconds=seconds, output=output)
        yield replace(step, report=report)


@dataclass(slots=True)
class _Commands:
    """Runs the program in processes that end with this one."""

    running: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])
    is_closed: bool = False

    def run(self, folder: Path, *arguments: str) -> tuple[int, float, str]:
        """Return the exit code of a command, its seconds, and its reason or else its last line."""
        started = time.monotonic()
        with subprocess.Popen(  # noqa: S603 -- our own program
            [*python_module_argv("repro_gate"), *arguments],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            self.running.append(process)
            if self.is_closed:
                process.terminate()
            output, _ = process.communicate()
        lines = output.strip().splitlines() or [""]
        reasons = [line for line in lines if line.startswith(_REASONS)]
        reason = " ".join([*reasons, lines[-1]][0].removeprefix("repro-gate: ").split())
        return process.returncode, time.monotonic() - started, reason

    def close(self) -> None:
        """End what still runs, and wait for it: it writes into the folder until then."""
        self.is_closed = True
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment() -> dict[str, str]:
    """Return our variables without the options of a check, and without those of a CI job."""
    return {
        name: value
        for name, value in os.environ.items()
        if name == _CACHE or not (name in _NO_SNAPSHOTS or name.startswith("REPRO_GATE_"))
    }
