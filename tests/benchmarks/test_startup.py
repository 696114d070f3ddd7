"""The benchmark of what commands cost besides their work."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def test_every_command_has_a_figure() -> None:
    """Each is measured, and prints a line."""
    printed = subprocess.run(
        [sys.executable, "-m", "benchmarks.startup", "--rounds", "1"],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    commands = [line.partition(" ")[0] for line in printed.splitlines()]
    assert commands == ["help", "dry-run", "publish", "shard", "check"]
