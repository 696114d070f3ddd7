"""What runs as a process of its own is ours, wherever it is started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_ASKED = "from repro_gate.adapters.own_modules import command_of; print(*command_of('a.module'))"


@pytest.mark.parametrize(("given", "kept"), [("-I", "-I"), ("-P", "-P"), ("-B", "-P")])
def test_a_module_is_as_isolated_as_the_gate(given: str, kept: str) -> None:
    """The current folder is no place for modules; an isolated gate hands its isolation on."""
    done = subprocess.run(
        [sys.executable, given, "-c", _ASKED], capture_output=True, check=True, text=True
    )
    assert done.stdout.split()[1:] == [kept, "-m", "a.module"]


@pytest.mark.parametrize("command", [["doctor"], ["models", "fetch", "tiny-qwen2"]])
def test_an_isolated_gate_measures_the_library_that_was_installed(
    tmp_path: Path, command: list[str]
) -> None:
    """A job sets `PYTHONPATH` for its own code, and that may hold modules of any name."""
    for name in ("gguf", "llama_cpp", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('another library')\n", "utf-8")
    hostile = {"PYTHONPATH": str(tmp_path), "REPRO_GATE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-I", "-m", "repro_gate", *command],
        cwd=_ROOT,
        env=os.environ | hostile,
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
