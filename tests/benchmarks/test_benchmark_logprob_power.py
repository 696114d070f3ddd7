"""The simulation of the logprob gate runs, and says what it promises to."""

import subprocess
import sys
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PROGRAM = (sys.executable, "-m", "benchmarks.logprob_power", "--quick")


@cache
def _printed(*, processes: int) -> str:
    amount = ("--matrices", "5", "--detections", "1", "--processes", str(processes))
    said = subprocess.run(
        [*_PROGRAM, *amount], cwd=_ROOT, check=True, capture_output=True, text=True
    )
    return said.stdout


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_without_a_change_nothing_is_found() -> None:
    """Neither service makes the gate alarm in a handful of matrices."""
    rows = [_cells(row) for row in _printed(processes=2).splitlines() if "any finding" in row]
    assert [row[:3] for row in rows] == [["ours: any finding", "0 of 5", "0.00%"]] * 2


def test_a_large_change_of_one_item_is_found() -> None:
    """Also where the gate is silent without one: the simulation can tell a difference."""
    rows = [_cells(row) for row in _printed(processes=2).splitlines() if "sum kept" in row]
    assert [row[:4] for row in rows] == [["one token by 2, sum kept", "1", "100%", "100%"]] * 2


def test_the_number_of_processes_changes_no_number() -> None:
    """The seed of a matrix is its own."""
    assert _printed(processes=1) == _printed(processes=2)
