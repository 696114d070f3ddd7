"""The engine answers lines with lines, whatever is on them, until there are no more."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.protocol import MAX_LINE_BYTES, PROTOCOL, Method

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import DrivenEngine, EngineStarter, ModelMaker

DESCRIBE = {"protocol": PROTOCOL, "id": 7, "method": "describe", "params": {"device": "cpu"}}


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
def test_a_line_that_is_no_request_is_refused_without_an_id(
    idle_engine: "DrivenEngine", line: bytes
) -> None:
    """An unreadable line is a bad request, and the engine goes on."""
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
def test_a_request_that_breaks_the_protocol_is_refused_by_its_id(
    idle_engine: "DrivenEngine", change: dict[str, Any], named: str
) -> None:
    """The error has the id of the request and names the field."""
    idle_engine.write_line(json.dumps(DESCRIBE | change).encode())
    answer = idle_engine.receive()
    assert (answer["id"], answer["error"]["kind"]) == (7, "bad_request")
    assert named in answer["error"]["message"]


def test_the_end_of_stdin_ends_the_engine(fresh_engine: "DrivenEngine") -> None:
    """An engine that was asked nothing ends well and has said nothing."""
    assert fresh_engine.end() == (0, b"")


def test_an_engine_with_a_model_ends_well(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """What is loaded is freed without a sound."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    fresh_engine.generate()
    assert fresh_engine.end() == (0, b"")
    assert fresh_engine.stderr() == ""


def test_an_interrupt_is_left_to_the_gate(fresh_engine: "DrivenEngine") -> None:
    """Ctrl-C at the terminal reaches every process, and the engine goes on."""
    fresh_engine.ask(Method.DESCRIBE, device="cpu")
    os.kill(fresh_engine.pid, signal.SIGINT)
    assert fresh_engine.ask(Method.DESCRIBE, device="cpu")["engine"] == "llama_cpp"
    assert fresh_engine.end() == (0, b"")


def test_what_llama_cpp_warns_about_is_on_stderr_only(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """The pipe holds answers and nothing else, even where llama.cpp has something to say."""
    fresh_engine.load(tiny_model("tiny-qwen2").path, n_ctx=8192)
    fresh_engine.generate()
    assert fresh_engine.end() == (0, b"")
    assert "n_ctx_seq (8192) > n_ctx_train (4096)" in fresh_engine.stderr()


def test_what_native_code_prints_never_reaches_the_protocol() -> None:
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


def test_a_gate_that_stopped_reading_ends_the_engine(start_engine: "EngineStarter") -> None:
    """An answer that nobody can read is no crash."""
    command = [sys.executable, "-m", "repro_gate.engines.llama_cpp"]
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
def test_an_engine_dies_with_its_gate() -> None:
    """A killed gate leaves no engine behind, although its stdin is still open."""
    gate = (
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'repro_gate.engines.llama_cpp']\n"
        "engine = subprocess.Popen(command, stdout=subprocess.PIPE)\n"
        "engine.stdout.readline()\n"
        "print(engine.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", gate], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(DESCRIBE).encode() + b"\n")
        child.stdin.flush()
        engine = Path("/proc", child.stdout.readline().decode().strip())
        child.kill()
        child.wait()
        deadline = time.monotonic() + 30
        while _is_running(engine) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not _is_running(engine)


def _is_running(process: Path) -> bool:
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # Whoever inherits the dead child may never ask how it ended.
    return state != "Z"
