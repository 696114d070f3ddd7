"""A program that is killed while it writes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_MIN_LINES = 50


def lines_until_killed(code: str, folder: Path) -> int:
    """Run endless code on a folder, kill it after some lines, and return how many it printed."""
    command = [sys.executable, "-c", code, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        for _ in range(_MIN_LINES):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        return _MIN_LINES + sum(line.endswith(b"\n") for line in process.stdout)
