"""Runs the engine: `python -m repro_gate.engines.llama_cpp`."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module

from repro_gate.engines.serving import Engine, run

_THREADS = "OPENBLAS_NUM_THREADS"


def _start() -> Engine:
    # Loading llama.cpp fails on a machine without the CUDA libraries of a CUDA build, for example.
    # The library comes before numpy: see `native`.
    import_module("repro_gate.engines.llama_cpp.native")
    with _single_threaded_numpy():
        from repro_gate.engines.llama_cpp.engine import LlamaCppEngine  # noqa: PLC0415

    return LlamaCppEngine()


@contextmanager
def _single_threaded_numpy() -> Generator[None]:
    """Let numpy's OpenBLAS start no thread per core: no matrices are multiplied here.

    It reads the variable when it is loaded, and llama.cpp is loaded already: nobody else sees it.
    """
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    yield
    if before is None:
        del os.environ[_THREADS]
    else:
        os.environ[_THREADS] = before


def main() -> int:
    """Answer requests until stdin ends."""
    # With a debugger installed, an abort would print a backtrace of several kB for seconds.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    return run(_start)


if __name__ == "__main__":
    sys.exit(main())
