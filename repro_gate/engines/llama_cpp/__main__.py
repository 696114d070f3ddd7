"""Runs the engine: `python -m repro_gate.engines.llama_cpp`."""

import os
import sys

from repro_gate.engines.serving import Engine, run


def _start() -> Engine:
    # Loading llama.cpp fails on a machine without the CUDA libraries of a CUDA build, for example.
    # The library comes before numpy: see `native`.
    from repro_gate.engines.llama_cpp import native  # noqa: F401, PLC0415
    from repro_gate.engines.llama_cpp.engine import LlamaCppEngine  # noqa: PLC0415

    return LlamaCppEngine()


def main() -> int:
    """Answer requests until stdin ends."""
    # With a debugger installed, an abort would print a backtrace of several kB for seconds.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    return run(_start)


if __name__ == "__main__":
    sys.exit(main())
