"""Processes as the kernel sees them, and the real engines of the adapters."""

import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from repro_gate.core.engines import EngineKind, EngineSpec
from repro_gate.core.tokens.cell import Cell
from repro_gate.ports import CellRun, Engine, Scored, ScoreRequest, TimedGeneration

EngineStarter: TypeAlias = Callable[[EngineSpec], Engine]
DescribedEngineStarter: TypeAlias = Callable[..., Engine]
"""Starts an engine that is described to it."""

PATIENCE_S = 20.0
_FAKES = Path(__file__).parent
# Without site-packages Python starts in half the time.
_PYTHON = (sys.executable, "-S", "-E")


def command_spec(*command: str, timeout_s: float = PATIENCE_S, **changes: Any) -> EngineSpec:
    """Return the specification of an engine that is any program."""
    values: dict[str, Any] = {
        "name": "external",
        "kind": EngineKind.COMMAND,
        "command": command,
        "device": "cpu",
        "settings": {"threads": 2, "exact": True},
        "timeout_s": timeout_s,
        "pass_env": (),
    }
    return EngineSpec(**(values | changes))


def speaking(changes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the command of `speaking_engine.py`."""
    return (*_PYTHON, str(_FAKES / "speaking_engine.py"), json.dumps(changes))


def failing(*arguments: str) -> tuple[str, ...]:
    """Return the command of `failing_engine.py`."""
    return (*_PYTHON, str(_FAKES / "failing_engine.py"), *arguments)


def generated(engine: Engine, cell: Cell, *, trace: bool) -> TimedGeneration:
    """Run a cell once, and return the answer or raise."""
    return next(engine.generate([CellRun(cell=cell, trace=trace)])).answer()


def scored(engine: Engine, asked: ScoreRequest) -> Scored:
    """Score one response, and return the answer or raise."""
    return next(engine.score([asked])).answer()


def printed_by(module: str, *arguments: str) -> str:
    """Return the stdout of a program of this repository; its stderr is in the failure."""
    command = [sys.executable, "-m", module, *arguments]
    ran = subprocess.run(
        command, cwd=_FAKES.parents[1], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"{module}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    return _state(pid) not in {None, "Z", "X"}


def exists(pid: int) -> bool:
    """Return whether a process exists, perhaps as a zombie."""
    return _state(pid) is not None


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started, zombies included."""
    numbers = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [number for number in numbers if _stat(number)[1:2] == [str(pid)]]


def wait_until_gone(pid: int) -> None:
    """Return once a process has ended; fail when it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def raised_in_a_child(work: Callable[[], object]) -> Exception | None:
    """Do work in a process of its own, whose limits and rights may be taken; return its error."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 -- the test checks which one it is
            sender.send(error)
        else:
            sender.send(None)

    child = context.Process(target=run)
    child.start()
    sender.close()
    with receiver:
        error: Exception | None = receiver.recv()
    child.join()
    child.close()
    return error


def _state(pid: int) -> str | None:
    return next(iter(_stat(pid)), None)


def _stat(pid: int) -> list[str]:
    """Return what follows the name of a process in its `stat`: the state, the parent, ..."""
    try:
        line = Path("/proc", str(pid), "stat").read_text("utf-8", errors="replace")
    except OSError:
        return []
    return line.rpartition(") ")[2].split()
