"""An engine as the gate drives it: a child process, a line in, a line out."""

import json
import os
import select
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from repro_gate.protocol import Method, request

_PATIENCE_S = 60.0
LLAMA_CPP = (sys.executable, "-m", "repro_gate.engines.llama_cpp")
"""The command of the built-in engine."""
_SETTINGS = {
    "n_ctx": 256,
    "n_batch": 256,
    "threads": 1,
    "flash_attention": False,
    "kv_type": "f32",
}
CELL = {
    "prompt": "The quick brown fox",
    "seed": 42,
    "max_tokens": 20,
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "trace": False,
}
"""The usual cell."""
_SCHEMA: dict[str, Any] = json.loads(
    (files("repro_gate.schemas") / "engine-v1.json").read_text("utf-8")
)


def validator(definition: str) -> Draft202012Validator:
    """Return a validator of one message of the protocol."""
    return Draft202012Validator(
        {
            "$schema": _SCHEMA["$schema"],
            "$id": _SCHEMA["$id"],
            "$defs": _SCHEMA["$defs"],
            "$ref": f"#/$defs/{definition}",
        }
    )


class DrivenEngine:
    """The engine in a child process; every answer is checked against the schema."""

    def __init__(self, env: Mapping[str, str], *, command: Sequence[str] = LLAMA_CPP) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 -- `close` closes it
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **env},
            bufsize=0,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._stdin = self._child.stdin
        self._stdout = self._child.stdout
        self._buffer = b""
        self._number = 0
        self.pid = self._child.pid

    def close(self) -> None:
        """Kill the process if it still runs, and close its pipes."""
        self._child.kill()
        self._child.wait()
        for stream in (self._stdin, self._stdout, self._stderr):
            stream.close()

    def write_line(self, line: bytes) -> None:
        """Write a line as it is."""
        rest = memoryview(line + b"\n")
        while rest:
            rest = rest[self._stdin.write(rest) :]

    def send(self, method: Method, params: Mapping[str, Any]) -> None:
        """Write a request."""
        self._number += 1
        self.write_line(json.dumps(request(self._number, method, params)).encode())

    def receive(self, definition: str = "answer") -> Any:
        """Return the next answer."""
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([self._stdout], [], [], _PATIENCE_S)
            assert readable, "the engine does not answer"
            chunk = self._stdout.read(1 << 16)
            assert chunk, f"the engine ended with {self._child.wait()}: {self.stderr()}"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer = json.loads(line)
        validator("error_answer" if "error" in answer else definition).validate(answer)
        return answer

    def ask(self, method: Method, **params: Any) -> Any:
        """Return the result of a request."""
        self.send(method, params)
        answer = self.receive(f"{method}_answer")
        assert answer["id"] == self._number
        assert "result" in answer, answer
        return answer["result"]

    def refusal(self, method: Method, **params: Any) -> tuple[str, str]:
        """Return the kind and the message of the error that answers a request."""
        self.send(method, params)
        answer = self.receive(f"{method}_answer")
        assert answer["id"] == self._number
        assert "error" in answer, answer
        return answer["error"]["kind"], answer["error"]["message"]

    def ask_together(self, requests: Sequence[tuple[Method, Mapping[str, Any]]]) -> list[Any]:
        """Send all requests, and return their results without timing, or errors, in their order."""
        first = self._number + 1
        for method, params in requests:
            self.send(method, params)
        answers = {answer["id"]: answer for answer in (self.receive() for _ in requests)}
        found = [answers[number] for number in range(first, first + len(requests))]
        for answer in found:
            answer.get("result", {}).pop("timing", None)
        return [answer.get("result", answer.get("error")) for answer in found]

    def load(self, model: Path, **settings: Any) -> Any:
        """Load a model on the CPU."""
        return self.ask(Method.LOAD, **load_params(model, **settings))

    def generate(self, **changes: Any) -> Any:
        """Run the usual cell with changes, and return the result without its timing."""
        result = self.ask(Method.GENERATE, **(CELL | changes))
        del result["timing"]
        return result

    def end(self) -> tuple[int, bytes]:
        """Close stdin, and return the exit code and the unread stdout."""
        self._stdin.close()
        return self.outcome()

    def stop_reading(self) -> None:
        """Close the stdout of the engine."""
        self._stdout.close()

    def exit_code(self) -> int:
        """Wait for the end, and return the exit code."""
        return self._child.wait(_PATIENCE_S)

    def outcome(self) -> tuple[int, bytes]:
        """Wait for the end, and return the exit code and the unread stdout."""
        rest = self._buffer + self._stdout.read()
        return self.exit_code(), rest

    def stderr(self) -> str:
        """Return what is on stderr so far."""
        self._stderr.seek(0)
        return self._stderr.read().decode()


def load_params(model: Path, **settings: Any) -> dict[str, Any]:
    """Return the parameters of a load request on the CPU."""
    return {
        "model": "tiny",
        "path": str(model),
        "sha256": None,
        "device": "cpu",
        "settings": _SETTINGS | settings,
    }


def limited_engine(address_space: int, *, stack: int = 2**23) -> DrivenEngine:
    """Start the built-in engine with limits of its address space and each stack, in bytes."""
    limits = f"ulimit -s {stack // 1024}; ulimit -v {address_space // 1024}"
    command = ("sh", "-c", f"{limits}; exec {shlex.join(LLAMA_CPP)}")
    # Both a GPU and idle threads reserve address space.
    env = {"CUDA_VISIBLE_DEVICES": "", "OPENBLAS_NUM_THREADS": "1"}
    return DrivenEngine(env, command=command)
