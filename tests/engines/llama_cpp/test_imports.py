"""The engine process loads libllama before any library that brings a C++ runtime of its own."""

import os
import subprocess
import sys

import pytest

_WATCH = """
import os, runpy, sys
from pathlib import Path

def watch(event, args):
    if event == "import" and args[0] == "numpy" and "numpy" not in sys.modules:
        loaded = "libllama.so" in Path("/proc/self/maps").read_text()
        print(loaded, os.environ.get("OPENBLAS_NUM_THREADS"), file=sys.stderr)

sys.addaudithook(watch)
runpy.run_module("repro_gate.engines.llama_cpp", run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_libllama_is_loaded_before_numpy_which_starts_no_threads() -> None:
    """In the other order, loading a model can be a segmentation fault."""
    child = subprocess.run(
        [sys.executable, "-c", _WATCH],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"},
    )
    assert set(child.stderr.split()) == {"True", "1"}


@pytest.mark.parametrize("order", ["native, llama_cpp", "llama_cpp, native"])
def test_the_engine_shares_the_library_with_the_bindings(order: str) -> None:
    """Two instances would have two logs and two lists of devices."""
    imports = {
        "native": "from repro_gate.engines.llama_cpp import native",
        "llama_cpp": "import llama_cpp",
    }
    program = [imports[name] for name in order.split(", ")]
    program.append("assert llama_cpp.llama_cpp is native._bindings")
    program.append("assert llama_cpp.__version__ == native.BINDINGS_VERSION")
    program.append("print(llama_cpp.Llama.__name__)")
    child = subprocess.run(
        [sys.executable, "-c", "\n".join(program)], capture_output=True, check=True, text=True
    )
    assert child.stdout == "Llama\n"


def test_the_engine_starts_without_the_rest_of_the_bindings() -> None:
    """Templates and servers would cost each engine process a tenth of a second."""
    program = (
        "import sys; from repro_gate.engines.llama_cpp import engine; "
        "print(*sorted({'jinja2', 'llama_cpp.llama', 'multiprocessing'} & set(sys.modules)))"
    )
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert child.stdout == "\n"
