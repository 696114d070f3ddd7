"""Runs the engine, `python -m repro_gate.engines.llama_cpp`: a request a line, an answer a line."""

import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from repro_gate.engines.llama_cpp import process
from repro_gate.engines.llama_cpp.server import serve
from repro_gate.protocol import Json, Method

if TYPE_CHECKING:
    from repro_gate.engines.llama_cpp.engine import LlamaCppEngine


@cache
def _engine() -> "LlamaCppEngine":
    # Loading llama.cpp can fail, on a machine without the CUDA libraries for example: asked for
    # again at the first request, the failure becomes an answer.
    from repro_gate.engines.llama_cpp.engine import LlamaCppEngine  # noqa: PLC0415

    return LlamaCppEngine()


def _handle(method: Method, params: Json) -> Json:
    return _engine().handle(method, params)


def main() -> int:
    """Answer requests until stdin ends."""
    answers = process.claim_stdout()
    process.prepare()
    # Before the first request, because an engine is often started well before it is needed.
    with suppress(Exception):
        _engine()
    serve(sys.stdin.buffer, answers, _handle)
    if _engine.cache_info().currsize:
        _engine().close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
