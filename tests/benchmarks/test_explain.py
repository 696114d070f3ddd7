"""The benchmark of what an explanation costs."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def test_every_form_has_a_ratio() -> None:
    """Each is measured, and prints a line."""
    printed = subprocess.run(
        [sys.executable, "-m", "benchmarks.explain", "--rounds", "1"],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    commands = [line.partition(" ")[0] for line in printed.splitlines()]
    assert commands == ["explain", "pack", "from"]
