"""The program that measures what the gate itself costs."""

import re
import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "gate_scale.py"


def test_recording_and_checking_are_measured() -> None:
    """Every cell matches, or the program fails; its phases are those of the gate of today."""
    command = [sys.executable, str(_PROGRAM), "--cells", "300", "--runs", "3"]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    totals = [
        line.partition(":")[0] for line in ran.stdout.splitlines() if "us of CPU a cell" in line
    ]
    assert (ran.returncode, ran.stderr) == (0, "")
    assert totals == ["update-snapshots --yes", "check --output report"]
    assert re.search(r" s  exchange with the engine\n", ran.stdout)
