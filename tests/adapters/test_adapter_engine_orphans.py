"""Engines whose gate was killed: none of them stays behind with the device."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.fakes.processes import children_of, is_running, speaking, wait_until_gone

BUILT_IN = "EngineSpec(kind=EngineKind.LLAMA_CPP, command=(), **REST)"
FOREIGN = f"EngineSpec(kind=EngineKind.COMMAND, command={speaking({})!r}, **REST)"
GATE = """
import sys, time
from repro_gate.adapters.engines import EngineProcesses
from repro_gate.core.models import EngineKind, EngineSpec

REST = dict(name="e", device="cpu", settings={{}}, timeout_s=60.0, pass_env=())
engine = EngineProcesses().start({spec})
engine.describe()
print("described", flush=True)
time.sleep(60)
"""


@pytest.fixture(name="gate", params=[BUILT_IN, FOREIGN], ids=["built-in", "foreign"])
def _gate(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Give a process that has an engine, which has answered once."""
    command = [sys.executable, "-c", GATE.format(spec=request.param)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gate:
        assert gate.stdout is not None
        assert gate.stdout.readline() == "described\n"
        yield gate
        gate.kill()


def test_no_engine_outlives_a_gate_that_was_killed(gate: subprocess.Popen[str]) -> None:
    """Even a gate that could not clean up leaves nothing that holds a GPU."""
    (engine,) = children_of(gate.pid)
    assert is_running(engine)

    gate.kill()

    wait_until_gone(engine)
