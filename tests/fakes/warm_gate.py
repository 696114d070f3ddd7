"""The real program in a process that has imported it: `python -m tests.fakes.warm_gate`.

Imports take most of the time of a short command. Here they are done once, and each command is a
fork: it has its own process, folder, environment and output, and ends like any other.

A request is a line of JSON, `{"arguments": [...], "folder": PATH, "environment": {...},
"out": FILE, "err": FILE}`; two lines answer it: the process ID, then the exit code.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import repro_gate

_ROOT = Path(repro_gate.__file__).parents[1]
_NEVER_IMPORTED = ("repro_gate.__main__", "repro_gate.engines", "repro_gate.tiny_models")
"""The first is the command; the others load an inference library."""


class WarmGate:
    """Runs commands in forks of one process."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.warm_gate"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._outputs = tempfile.TemporaryDirectory()

    def run(
        self, arguments: Sequence[str], *, folder: Path, env: Mapping[str, str], within_s: float
    ) -> tuple[int, str, str]:
        """Run a command to its end; return its exit code and what it printed.

        Raises:
            TimeoutError: the command took too long; it is killed.
        """
        out, err = (Path(self._outputs.name, name) for name in ("out", "err"))
        request = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(env),
            "out": str(out),
            "err": str(err),
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        pid = self._number()
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], within_s)[0]:
            os.kill(pid, signal.SIGKILL)
            self._number()
            raise TimeoutError(f"{arguments} took more than {within_s} s: {err.read_text('utf-8')}")
        return self._number(), out.read_text("utf-8"), err.read_text("utf-8")

    def close(self) -> None:
        """End the process and remove its outputs."""
        self._server.communicate()
        self._outputs.cleanup()

    def _number(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


@cache
def warm_gate() -> WarmGate:
    """Return the one that all tests of this process share."""
    gate = WarmGate()
    atexit.register(gate.close)
    return gate


def _import_everything() -> None:
    for module in pkgutil.walk_packages(repro_gate.__path__, "repro_gate."):
        if not module.name.startswith(_NEVER_IMPORTED):
            importlib.import_module(module.name)
    # Not even looked at by the collector of a child, so the pages stay shared.
    gc.freeze()


def _serve() -> dict[str, Any] | None:
    """Fork for each request; return the request in the child, and None at the end."""
    while line := sys.stdin.buffer.readline():
        child = os.fork()
        if child == 0:
            request: dict[str, Any] = json.loads(line)
            return request
        print(child, flush=True)  # noqa: T201 -- the protocol
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 -- the protocol
    return None


def _become(request: Mapping[str, Any]) -> None:
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdin, sys.stdout = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8")  # noqa: SIM115 -- descriptors
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115 -- a descriptor
    sys.argv[1:] = request["arguments"]
    runpy.run_module("repro_gate", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _import_everything()
    if (asked := _serve()) is not None:
        _become(asked)
