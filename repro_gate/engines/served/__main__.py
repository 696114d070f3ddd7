"""Runs the engine: `python -m repro_gate.engines.served [LOG]`."""

import sys
from pathlib import Path

from repro_gate.engines.served.engine import ServedEngine
from repro_gate.engines.serving import run


def main() -> int:
    """Answer requests until stdin ends; what a server prints is kept in LOG."""
    log = Path(sys.argv[1]) if sys.argv[1:] else None
    return run(lambda: ServedEngine(log))


if __name__ == "__main__":
    sys.exit(main())
