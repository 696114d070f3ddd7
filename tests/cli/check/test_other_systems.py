"""The gate runs on a system without what only Linux has, and its doctor names what is untested."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_CI = ("CI", "GITHUB_ACTIONS")
_WITHOUT_LINUX = """\
import ctypes, io, os, platform, signal

for module, name in (
    *((os, name) for name in ("sched_getaffinity", "pidfd_open", "posix_fadvise", "getrandom")),
    *((os, name) for name in ("memfd_create", "copy_file_range", "sendfile", "splice", "eventfd")),
    (signal, "pidfd_send_signal"),
):
    if hasattr(module, name):
        delattr(module, name)
platform.system = lambda: "Darwin"

def without(function):
    def wrapped(path=".", *arguments, **named):
        if str(path).startswith(("/proc", "/sys")):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return function(path, *arguments, **named)
    return wrapped

io.open = open = without(io.open)
os.listdir, os.scandir, os.stat = without(os.listdir), without(os.scandir), without(os.stat)

class Library(ctypes.CDLL):
    def __getattr__(self, name):
        if name == "prctl":
            raise AttributeError(name)
        return super().__getattr__(name)

ctypes.CDLL = Library
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which every Python process lacks what only Linux has."""
    (tmp_path / "sitecustomize.py").write_text(_WITHOUT_LINUX, "utf-8")
    usual = {name: value for name, value in os.environ.items() if name not in _CI}
    return {**usual, "PYTHONPATH": str(tmp_path), "REPRO_GATE_CACHE": str(tmp_path / "cache")}


def _run(environment: dict[str, str], *arguments: str, folder: Path = _ROOT) -> tuple[int, str]:
    gate = [sys.executable, "-m", "repro_gate", *arguments]
    ran = subprocess.run(
        gate, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_a_check_needs_nothing_of_linux(environment: dict[str, str], tmp_path: Path) -> None:
    """Real engines, side by side and in fresh processes, with the verdicts of Linux."""
    report = f"--output={tmp_path}"
    code, output = _run(environment, "check", report, "--only", "*--seed42")

    assert (code, " match;" in output, "Traceback" in output) == (0, True, False), output


def test_goldens_are_recorded_without_linux(environment: dict[str, str], tmp_path: Path) -> None:
    """And found again by the next check."""
    matrix = tmp_path / "repro-gate.toml"
    matrix.write_bytes((_ROOT / matrix.name).read_bytes())
    only = ("--suite", "embedded", "--only", "tiny-qwen2--*--seed42")
    recording, recorded = _run(environment, "update-snapshots", "--yes", *only, folder=tmp_path)
    checking, checked = _run(environment, "check", *only, folder=tmp_path)

    assert (recording, checking) == (0, 0), recorded + checked
    assert "passed: 5 match" in checked


def test_the_doctor_names_what_is_untested(environment: dict[str, str]) -> None:
    """On another system, and of a backend that no engine was run on."""
    code, output = _run(environment, "doctor", "--device", "metal")

    assert code == 4
    assert "repro-gate is tested on Linux only: here it cannot see" in output
    assert "metal is not among the devices of this llama.cpp (CPU)" in output


_PARENT = """\
import os, subprocess, sys
engine = subprocess.Popen(
    [sys.executable, "-m", "repro_gate.engines.llama_cpp"], stdout=subprocess.PIPE
)
print(engine.stdout.readline())
"""


def test_an_engine_ends_with_the_gate(environment: dict[str, str]) -> None:
    """Without a signal from the kernel, and though its stdin stays open."""
    reader, writer = os.pipe()
    os.write(writer, b"{}\n")
    parent = [sys.executable, "-c", _PARENT]
    done = subprocess.run(
        parent, env=environment, stdin=reader, capture_output=True, timeout=60, check=True
    )
    os.close(reader)

    ended = select.poll()
    # Shows an error as soon as nobody can read the pipe.
    ended.register(writer, 0)
    assert (b"bad_request" in done.stdout, len(ended.poll(60_000))) == (True, 1)
    os.close(writer)
