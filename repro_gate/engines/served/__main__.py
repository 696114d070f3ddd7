"""Runs the engine: `python -m repro_gate.engines.served`."""

import sys

from repro_gate.engines.served.engine import ServedEngine
from repro_gate.engines.serving import run

if __name__ == "__main__":
    sys.exit(run(ServedEngine))
