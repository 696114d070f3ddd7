"""Every engine in Python answers each line with a line, until stdin ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from repro_gate.protocol import MAX_LINE_BYTES, PROTOCOL, Method
from tests.docs.pages import ROOT
from tests.fakes.driven_engine import LLAMA_CPP, DrivenEngine
from tests.fakes.processes import is_running

_ABSENT = ("cffi", "gguf", "httpx", "jsonschema", "llama_cpp", "numpy", "rich", "scipy", "typer")
"""Libraries that an engine of another stack may lack."""
_RUN_WITHOUT = (
    f"import runpy, sys; sys.modules.update(dict.fromkeys({_ABSENT})); "
    "runpy.run_path(sys.argv[1], run_name='__main__')"
)
DESCRIBE = {"protocol": PROTOCOL, "id": 7, "method": "describe", "params": {"device": "cpu"}}


@pytest.fixture(name="command", scope="module", params=["llama_cpp", "bytes"])
def _command(request: pytest.FixtureRequest) -> Sequence[str]:
    """Return how an engine is started; the example finds no library besides our own modules."""
    if request.param == "llama_cpp":
        return LLAMA_CPP
    return (sys.executable, "-c", _RUN_WITHOUT, str(ROOT / "docs/examples/bytes/engine.py"))


@pytest.fixture(name="idle_engine", scope="module")
def _idle_engine(command: Sequence[str]) -> Iterator[DrivenEngine]:
    """Yield an engine without a model, shared by the tests of the module."""
    with closing(DrivenEngine({}, command=command)) as driven:
        yield driven


@pytest.fixture(name="fresh_engine")
def _fresh_engine(command: Sequence[str]) -> Iterator[DrivenEngine]:
    """Yield an engine before its first request."""
    with closing(DrivenEngine({}, command=command)) as driven:
        yield driven


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"id": NaN}',
        b"x" * (MAX_LINE_BYTES + 1),
        json.dumps(DESCRIBE | {"id": "7"}).encode(),
        json.dumps(DESCRIBE | {"id": True}).encode(),
    ],
    ids=["empty", "cut", "not-utf8", "list", "null", "deep", "nan", "long", "text-id", "bool-id"],
)
def test_an_unreadable_line_is_refused_without_an_id(
    idle_engine: DrivenEngine, line: bytes
) -> None:
    """It is a bad request, and the engine keeps running."""
    idle_engine.write_line(line)
    refused = idle_engine.receive()
    idle_engine.write_line(json.dumps(DESCRIBE).encode())
    assert (refused["id"], refused["error"]["kind"]) == (None, "bad_request")
    assert idle_engine.receive("describe_answer")["id"] == 7


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"protocol": "repro-gate/engine/v2"}, "protocol: expected "),
        ({"method": "sing"}, "method: expected "),
        ({"method": ["describe"]}, "method: expected "),
        ({"params": []}, "params: expected "),
        ({"extra": 1}, "the unknown key 'extra'"),
    ],
)
def test_an_invalid_request_is_refused_by_its_id(
    idle_engine: DrivenEngine, change: dict[str, Any], named: str
) -> None:
    """The error has the id of the request and names the field."""
    idle_engine.write_line(json.dumps(DESCRIBE | change).encode())
    answer = idle_engine.receive()
    assert (answer["id"], answer["error"]["kind"]) == (7, "bad_request")
    assert named in answer["error"]["message"]


def test_the_end_of_stdin_ends_the_engine(fresh_engine: DrivenEngine) -> None:
    """An engine without requests exits with 0 and prints nothing."""
    assert fresh_engine.end() == (0, b"")


def test_an_interrupt_is_left_to_the_gate(fresh_engine: DrivenEngine) -> None:
    """Ctrl-C at the terminal reaches every process, and the engine keeps running."""
    fresh_engine.ask(Method.DESCRIBE, device="cpu")
    os.kill(fresh_engine.pid, signal.SIGINT)
    assert fresh_engine.ask(Method.DESCRIBE, device="cpu")["engine"]
    assert fresh_engine.end() == (0, b"")


def test_output_of_native_code_never_reaches_the_protocol() -> None:
    """After the engine has claimed stdout, file descriptor 1 is stderr."""
    program = (
        "import os\n"
        "from repro_gate.engines.serving import claim_stdout\n"
        "answers = claim_stdout()\n"
        "os.write(1, b'noise')\n"
        "answers.write(b'answer')\n"
    )
    child = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert (child.stdout, child.stderr) == (b"answer", b"noise")


def test_a_gate_that_stopped_reading_ends_the_engine(command: Sequence[str]) -> None:
    """An answer that is not read is not a crash."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        child.stdin.write(json.dumps(DESCRIBE).encode() + b"\n")
        child.stdin.flush()
        assert (child.wait(60), child.stderr.read()) == (0, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_an_engine_dies_with_its_gate(command: Sequence[str]) -> None:
    """A killed gate leaves no engine behind, although its stdin is still open."""
    gate = (
        "import subprocess, sys, time\n"
        "engine = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "engine.stdout.readline()\n"
        "print(engine.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", gate, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(DESCRIBE).encode() + b"\n")
        child.stdin.flush()
        pid = int(child.stdout.readline())
        child.kill()
        child.wait()
        deadline = time.monotonic() + 30
        while is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_running(pid)


def test_an_engine_that_cannot_start_answers_with_the_reason(tmp_path: Path) -> None:
    """A missing library, for example; the engine tries again at each request."""
    program = tmp_path / "engine.py"
    program.write_text(
        "from repro_gate.engines.serving import run\n"
        "def start():\n"
        "    raise OSError('no libcuda.so.1')\n"
        "run(start)\n",
        encoding="utf-8",
    )
    with closing(DrivenEngine({}, command=(sys.executable, str(program)))) as broken:
        for _ in range(2):
            assert broken.refusal(Method.DESCRIBE, device="cpu") == (
                "internal",
                "OSError: no libcuda.so.1",
            )
        assert broken.end() == (0, b"")
